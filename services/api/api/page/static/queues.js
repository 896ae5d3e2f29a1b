// The queues view: current counts, and their history since the page was opened.

import { byId, h } from "./dom.js";
import { pluralize } from "./labels.js";

const SAMPLE_S = 2;
const SAMPLES = 150;           // five minutes
const WIDTH_MIN = 30;          // minimum width of a sparkline, in samples
const STUCK_S = 10;
const LINES = [["waiting", "Waiting"], ["running", "Running"], ["retrying", "Retrying"]];

let status = null;
let live = true;
let seenAt = null;
const history = new Map();     // queue -> [{waiting, running, retrying}, ...], newest last

/** Format a count of the API, which stops counting at `counted_max`. */
export const counted = (number, { counted_max: max }) => (number >= max ? `${max.toLocaleString()}+` : number.toLocaleString());

/** Format a duration in seconds. */
export function span(seconds) {
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  return seconds < 120 ? `${Math.round(seconds)} s` : `${Math.round(seconds / 60)} min`;
}

/** Return the current problems as sentences, causes before effects. */
export function troubles({ broker, queues, circuits }) {
  if (broker !== "ok") return ["Redis is unreachable. Issues are accepted, but enrichment waits."];
  const found = [];
  const unconsumed = queues.filter((queue) => queue.consumers === 0).map((queue) => queue.name);
  if (unconsumed.length === queues.length) found.push("No worker is running. Issues are accepted, but enrichment waits.");
  else if (unconsumed.length) found.push(`No worker consumes ${unconsumed.join(", ")}. Its jobs wait.`);
  for (const { provider, error } of circuits) found.push(`Provider ${provider} is failing and its jobs wait: ${error}`);
  if (found.length) return found;
  for (const { name, running, oldest_due_s: age } of queues) {
    if (running === 0 && (age ?? 0) > STUCK_S) found.push(`No job of ${name} has started for ${span(age)}. Check its workers.`);
  }
  return found;
}

/** Handle a status event. */
export function note(now) {
  status = now;
  seenAt = new Date();
  draw();
}

/** Handle a change of the stream's connection. While it is down, the figures are out of date. */
export function noteLive(isLive) {
  live = isLive;
  draw();
}

function sample() {
  if (!status || !live) return;
  for (const queue of status.queues) {
    const samples = history.get(queue.name) ?? [];
    history.set(queue.name, [...samples, queue].slice(-SAMPLES));
  }
  draw();
}

/** Draw the view if it is visible. */
export function draw() {
  if (byId("queues").hidden) return;
  byId("queues-state").textContent = state();
  byId("queues-troubles").replaceChildren(...(status ? troubles(status) : []).map((text) => h("li", {}, text)));
  byId("queues-table").hidden = !status;
  if (status) byId("queues-rows").replaceChildren(...status.queues.map(row));
}

function state() {
  if (!status) return live ? "Loading..." : "The API cannot be reached.";
  if (!live) return `Live updates interrupted. Figures from ${seenAt.toLocaleTimeString()}.`;
  const messages = status.dead_messages ? ` ${pluralize(status.dead_messages, "dead message")} in the dead letters.` : "";
  return status.broker === "ok" ? `${pluralize(status.unacknowledged, "unacknowledged message")}.${messages}` : messages.trim();
}

function row(queue) {
  const next = queue.next_retry_s === null ? "" : ` in ${span(Math.max(0, queue.next_retry_s))}`;
  return h("tr", {},
    h("th", { scope: "row" }, queue.name),
    LINES.map(([key, name]) => h("td", {},
      h("span", { class: "number" }, counted(queue[key], status), key === "retrying" && next),
      sparkline(name, history.get(queue.name)?.map((each) => each[key]) ?? []))),
    h("td", { class: queue.dead ? "bad" : null }, counted(queue.dead, status)),
    h("td", {}, queue.oldest_due_s === null ? "none" : span(queue.oldest_due_s)),
    h("td", {}, queue.messages === null ? "unknown" : counted(queue.messages, status)),
    h("td", { class: queue.consumers === 0 ? "bad" : null }, workers(queue)));
}

function workers({ consumers, processes, running }) {
  if (consumers === null) return "unknown";
  return consumers === 0 ? "none" : `${pluralize(consumers, "worker")}, ${running} of ${pluralize(processes, "process", "processes")} busy`;
}

/** Draw a sparkline, newest value at the right edge, with its range as the text alternative. */
function sparkline(name, values) {
  const low = Math.min(...values), high = Math.max(...values);
  const text = values.length < 2 ? `${name}: no history yet` : `${name} in the last ${span(values.length * SAMPLE_S)}: between ${low} and ${high}`;
  const width = Math.max(WIDTH_MIN, values.length);
  const points = values.map((value, at) => `${width - values.length + at},${22 - 20 * (high ? value / high : 0)}`);
  const image = svg("svg", { class: "spark", viewBox: `0 0 ${width - 1} 24`, preserveAspectRatio: "none", role: "img", "aria-label": text });
  image.append(svg("polyline", { points: points.join(" ") }));
  return image;
}

function svg(name, attributes) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

/** Start sampling every two seconds, also while the view is hidden. */
export function start() {
  setInterval(sample, SAMPLE_S * 1000);
}
