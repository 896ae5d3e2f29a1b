// The queues view: current counts, and their history since the page was opened.

import { byId, drawAfterPress, h } from "./dom.js";
import { pluralize } from "./labels.js";
import * as pauses from "./pauses.js";

const SAMPLE_S = 2;
const SAMPLES = 150;           // five minutes
const WIDTH_MIN = 30;          // minimum width of a sparkline, in samples
const IDLE_WAIT_S = 10;        // after which waiting jobs are a problem if none is running,
const BUSY_WAIT_S = 60;        // and if some are
const LINES = [["waiting", "Waiting"], ["running", "Running"], ["retrying", "Retrying"]];

let status = null;
let isConnected = true;
let seenAt = null;
const history = new Map();     // queue -> [{waiting, running, retrying}, ...], newest last

/** Format a count of the API, which stops counting at `counted_max`. */
export const formatCount = (number, { counted_max: max }) => (number >= max ? `${max.toLocaleString()}+` : number.toLocaleString());

/** Format a duration in seconds. */
export function formatDuration(seconds) {
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  return seconds < 120 ? `${Math.round(seconds)} s` : `${Math.round(seconds / 60)} min`;
}

/** Return the current problems as sentences, causes before effects. */
export function findProblems({ broker, queues, circuits }) {
  if (broker !== "ok") return ["Redis is unreachable. Issues are accepted, but enrichment waits."];
  const found = [];
  const unconsumed = queues.filter((queue) => queue.consumers === 0).map((queue) => queue.name);
  if (unconsumed.length === queues.length) found.push("No worker is running. Issues are accepted, but enrichment waits.");
  else if (unconsumed.length) found.push(`No worker consumes ${unconsumed.join(", ")}. Its jobs wait.`);
  for (const { provider, error } of circuits) found.push(`Provider ${provider} is failing and its jobs wait: ${error}`);
  if (found.length) return found;
  for (const { name, running, oldest_due_s: oldest, oldest_foreground_s: age } of queues) {
    // Background jobs, and jobs of a project at its limit, may wait. `age` is older than `oldest`.
    if (Math.min(oldest ?? 0, age ?? 0) > (running ? BUSY_WAIT_S : IDLE_WAIT_S)) found.push(`Jobs of ${name} have waited for up to ${formatDuration(age)}. Check its workers, or add some.`);
  }
  return found;
}

/** Handle a status event. */
export function handleStatus(now) {
  status = now;
  seenAt = new Date();
  drawAfterPress(draw);
}

/** Handle a change of the stream's connection. While it is down, the figures are out of date. */
export function handleLive(isLive) {
  isConnected = isLive;
  drawAfterPress(draw);
}

function takeSample() {
  if (!status || !isConnected) return;
  for (const queue of status.queues) {
    const samples = history.get(queue.name) ?? [];
    history.set(queue.name, [...samples, queue].slice(-SAMPLES));
  }
  drawAfterPress(draw);
}

/** Draw the view if it is visible. */
export function draw() {
  if (byId("queues").hidden) return;
  byId("queues-state").textContent = describeState();
  byId("queues-troubles").replaceChildren(...(status ? findProblems(status) : []).map((text) => h("li", {}, text)));
  byId("queues-table").hidden = !status;
  byId("queues-waiting").replaceChildren(...(status ? describeWaiting(status) : []).map((text) => h("li", {}, text)));
  // During an upgrade, the status may come from an older API.
  pauses.draw(status?.pauses ?? []);
  if (status) byId("queues-rows").replaceChildren(...status.queues.map(buildRow));
}

/** List the waiting jobs by class and by project. */
function describeWaiting({ classes, projects, counted_max }) {
  const list = (name, counts, max) => {
    const waiting = counts.filter((each) => each.waiting);
    return waiting.length ? [`Waiting by ${name}: ${waiting.map((each) => `${each.name} ${formatCount(each.waiting, max)}`).join(", ")}`] : [];
  };
  return [...list("class", classes, { counted_max }), ...list("project", projects, { counted_max: Infinity })];
}

function describeState() {
  if (!status) return isConnected ? "Loading..." : "The API cannot be reached.";
  if (!isConnected) return `Live updates interrupted. Figures from ${seenAt.toLocaleTimeString()}.`;
  const messages = status.dead_messages ? ` ${pluralize(status.dead_messages, "dead message")} in the dead letters.` : "";
  return status.broker === "ok" ? `${pluralize(status.unacknowledged, "unacknowledged message")}.${messages}` : messages.trim();
}

function buildRow(queue) {
  const next = queue.next_retry_s === null ? "" : ` in ${formatDuration(Math.max(0, queue.next_retry_s))}`;
  return h("tr", {},
    h("th", { scope: "row" }, queue.name),
    LINES.map(([key, name]) => h("td", {},
      h("span", { class: "number" }, formatCount(queue[key], status), key === "retrying" && next),
      buildSparkline(name, history.get(queue.name)?.map((each) => each[key]) ?? []))),
    h("td", { class: queue.dead ? "bad" : null }, formatCount(queue.dead, status)),
    h("td", {}, queue.oldest_due_s === null ? "none" : formatDuration(queue.oldest_due_s)),
    h("td", {}, queue.messages === null ? "unknown" : formatCount(queue.messages, status)),
    h("td", { class: queue.consumers === 0 ? "bad" : null }, describeWorkers(queue)));
}

function describeWorkers({ consumers, processes, running }) {
  if (consumers === null) return "unknown";
  return consumers === 0 ? "none" : `${pluralize(consumers, "worker")}, ${running} of ${pluralize(processes, "process", "processes")} busy`;
}

/** Draw a sparkline, newest value at the right edge, with its range as the text alternative. */
function buildSparkline(name, values) {
  const low = Math.min(...values), high = Math.max(...values);
  const text = values.length < 2 ? `${name}: no history yet` : `${name} in the last ${formatDuration(values.length * SAMPLE_S)}: between ${low} and ${high}`;
  const width = Math.max(WIDTH_MIN, values.length);
  const points = values.map((value, at) => `${width - values.length + at},${22 - 20 * (high ? value / high : 0)}`);
  const image = createSvg("svg", { class: "spark", viewBox: `0 0 ${width - 1} 24`, preserveAspectRatio: "none", role: "img", "aria-label": text });
  image.append(createSvg("polyline", { points: points.join(" ") }));
  return image;
}

function createSvg(name, attributes) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

/** Start sampling every two seconds, also while the view is hidden. */
export function start() {
  setInterval(takeSample, SAMPLE_S * 1000);
}
