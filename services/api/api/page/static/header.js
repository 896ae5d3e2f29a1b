// The header: counts of jobs, and warnings for operators.

import { byId, h } from "./dom.js";
import { counted, span, troubles } from "./queues.js";
import { setRetries } from "./labels.js";

const sum = (status, name) => status.queues.reduce((total, queue) => total + queue[name], 0);

/** Show the queue status from the event stream. */
export function showStatus(status) {
  setRetries(status.retries_max);
  const next = status.queues.map((queue) => queue.next_retry_s).filter((seconds) => seconds !== null);
  const soon = next.length ? ` (next in ${Math.max(0, Math.round(Math.min(...next)))} s)` : "";
  const dead = sum(status, "dead") + status.dead_messages;
  const { p95_s: p95, provider } = status.recent;
  byId("counts").replaceChildren(...[
    figure("Enqueued", counted(sum(status, "waiting"), status)),
    figure("Busy", counted(sum(status, "running"), status)),
    figure("Retries", counted(sum(status, "retrying"), status) + soon),
    figure("Dead", counted(dead, status), dead > 0),
    p95 !== null && figure("p95", span(p95), false, "95th percentile of the time from POST to enriched, over the newest issues"),
    provider !== null && figure("Provider", provider),
  ].filter(Boolean));
  const [trouble] = troubles(status);
  byId("health").textContent = trouble ?? "";
  byId("health").hidden = !trouble;
}

/** Show whether the stream is connected. */
export function showLive(isLive) {
  const badge = byId("stream");
  badge.textContent = isLive ? "" : "Live updates interrupted. Reconnecting...";
  badge.hidden = isLive;
}

function figure(name, value, isBad = false, title = null) {
  return h("div", { class: isBad ? "bad" : null, title }, h("dt", {}, name), h("dd", {}, value));
}
