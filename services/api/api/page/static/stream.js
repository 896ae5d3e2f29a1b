// The event stream. EventSource resumes after a lost connection; this module also resumes after an error response.

import { API } from "./api.js";

const KINDS = ["issue.created", "issue.changed", "issue.deleted", "job.changed"];
const RECONNECT_GRACE_MS = 1500;

/** Listen permanently. Calls onSync() when everything must be fetched, onEvent(kind, data), onStatus(data),
    onLive(isLive), and onRejected() after an error response, whose status EventSource hides: it may require a login. */
export function listen({ onSync, onEvent, onStatus, onLive, onRejected }) {
  let source, lastId = "", warning, retry;

  function open() {
    source = new EventSource(`${API}/events${lastId ? `?after=${encodeURIComponent(lastId)}` : ""}`);
    source.addEventListener("open", () => {
      clearTimeout(warning);
      warning = undefined;
      onLive(true);
    });
    source.addEventListener("error", () => {
      // No warning for a stream that ends on schedule and reconnects at once.
      warning ??= setTimeout(() => onLive(false), RECONNECT_GRACE_MS);
      if (source.readyState === EventSource.CLOSED) {
        clearTimeout(retry);
        retry = setTimeout(() => { onRejected(); reopen(); }, 3000);
      }
    });
    source.addEventListener("sync", (event) => { lastId = event.lastEventId; onSync(); });
    source.addEventListener("status", (event) => onStatus(JSON.parse(event.data)));
    for (const kind of KINDS) {
      source.addEventListener(kind, (event) => {
        lastId = event.lastEventId;
        onEvent(kind, JSON.parse(event.data));
      });
    }
  }

  function reopen() {
    clearTimeout(retry);
    source.close();
    open();
  }

  open();
  return reopen;
}
