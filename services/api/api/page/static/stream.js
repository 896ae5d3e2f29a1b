// The event stream. EventSource resumes by itself where a connection breaks; this also resumes after an error answer.

import { API } from "./api.js";

const KINDS = ["issue.created", "issue.changed", "issue.deleted", "job.changed"];
const RECONNECT_GRACE_MS = 1500;

/** Listen for good: onSync() when all must be read, onEvent(kind, data), onStatus(data), onLive(isLive); onRejected() when
    the API answered with an error, which an EventSource does not tell: it may be that one must log in. */
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
      // A stream that ends on time is back before anybody need know.
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
