// The strip above: what waits and what works, and what an operator should know.

import { byId, h } from "./dom.js";
import { setRetries } from "./words.js";

const STUCK_S = 10;
const COUNTED_MAX = 10000;

const shown = (count) => (count >= COUNTED_MAX ? `${COUNTED_MAX.toLocaleString()}+` : count.toLocaleString());

/** Show what the stream says of the queues. */
export function showStatus(status) {
  setRetries(status.retries);
  const next = status.next_retry_s === null ? "" : ` (next in ${Math.max(0, Math.round(status.next_retry_s))} s)`;
  byId("counts").replaceChildren(
    ...count("Waiting", shown(status.waiting)),
    ...count("Busy", shown(status.busy)),
    ...count("Retries", shown(status.retrying) + next),
    ...count("Dead", shown(status.dead), status.dead > 0));
  const health = byId("health");
  health.textContent = trouble(status);
  health.hidden = !health.textContent;
}

/** Show whether the stream is connected. */
export function showLive(isLive) {
  const badge = byId("stream");
  badge.textContent = isLive ? "" : "Live updates interrupted; reconnecting";
  badge.hidden = isLive;
}

function count(name, value, isBad = false) {
  return [h("div", { class: isBad ? "bad" : null }, h("dt", {}, name), h("dd", {}, value))];
}

function trouble(status) {
  if (status.broker !== "ok") return "Redis is unreachable: issues are accepted; enrichment waits.";
  if (status.busy === 0 && (status.oldest_queued_s ?? 0) > STUCK_S) {
    return `Nothing has been taken up for ${Math.round(status.oldest_queued_s)} s: is a worker running? Issues are accepted; enrichment waits.`;
  }
  return "";
}
