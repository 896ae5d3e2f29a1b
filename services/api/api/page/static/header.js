// The header: counts of jobs, and warnings for operators.

import { byId, h } from "./dom.js";
import { findProblems, formatCount, formatDuration } from "./queues.js";
import { setRetries } from "./labels.js";
import { describePause } from "./pauses.js";

const sum = (status, name) => status.queues.reduce((total, queue) => total + queue[name], 0);

/** Show the queue status from the event stream. */
export function showStatus(status) {
  setRetries(status.retries_max);
  const next = status.queues.map((queue) => queue.next_retry_s).filter((seconds) => seconds !== null);
  const nextRetry = next.length ? ` (next in ${Math.max(0, Math.round(Math.min(...next)))} s)` : "";
  const dead = sum(status, "dead") + status.dead_messages;
  const { p95_s: p95, provider } = status.recent;
  byId("counts").replaceChildren(...[
    buildFigure("Waiting", formatCount(sum(status, "waiting"), status)),
    buildFigure("Running", formatCount(sum(status, "running"), status)),
    buildFigure("Retrying", formatCount(sum(status, "retrying"), status) + nextRetry),
    buildFigure("Dead", formatCount(dead, status), dead > 0),
    p95 !== null && buildFigure("p95", formatDuration(p95), false, "95th percentile of the time from POST to enriched, over the newest issues"),
    provider !== null && buildFigure("Provider", provider),
  ].filter(Boolean));
  const [problem] = [...findProblems(status), ...(status.pauses ?? []).map(describePause)];
  byId("health").textContent = problem ?? "";
  byId("health").hidden = !problem;
}

/** Show whether the stream is connected. */
export function showLive(isLive) {
  const badge = byId("stream");
  badge.textContent = isLive ? "" : "Live updates interrupted. Reconnecting...";
  badge.hidden = isLive;
}

function buildFigure(name, value, isBad = false, title = null) {
  return h("div", { class: isBad ? "bad" : null, title }, h("dt", {}, name), h("dd", {}, value));
}
