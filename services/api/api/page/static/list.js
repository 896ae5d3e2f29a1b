// The triage list. Rows never move while you work; new issues are shown only after a click.

import { call } from "./api.js";
import { byId, drawAfterPress, h } from "./dom.js";
import { filters, navigate, selectedId, urlWith } from "./router.js";
import { humanize, stateLabel, formatTime } from "./labels.js";

const PAGE = 50;
const ONE_BY_ONE_MAX = 5;
const PAUSE_MS = 200;
const RETRY_MS = 3000;

let rows = new Map();          // id -> {issue, element}, in the order shown
let cursor = null;
let unseen = new Set();
let changed = new Set();
let deleted = new Set();
let lastLoad = 0;
let loaded = Promise.resolve();
let isRefreshing = false;

const query = (more = {}) => new URLSearchParams([...filters(), ...Object.entries(more)]).toString();

/** Fetch the first page. */
export function load() {
  loaded = loadFirst();
  return loaded;
}

async function loadFirst() {
  const request = ++lastLoad;
  changed.clear();
  try {
    const page = await call("GET", `/issues?${query({ limit: PAGE, total: true })}`);
    if (request !== lastLoad) return;
    rows = new Map();
    showTotal(page);
    unseen = new Set();
    byId("list").replaceChildren();
    append(page);
  } catch (problem) {
    if (request === lastLoad) showState(problem.message);
  }
}

/** Fetch the next page. */
export async function loadMore() {
  if (cursor === null) return;
  const request = lastLoad, from = cursor;
  cursor = null;
  try {
    const page = await call("GET", `/issues?${query({ limit: PAGE, cursor: from })}`);
    if (request === lastLoad) append(page);
  } catch (problem) {
    cursor = from;
    showState(problem.message);
  }
}

function append(page) {
  for (const issue of page.items) {
    if (rows.has(issue.id)) continue;
    const element = h("li");
    rows.set(issue.id, { issue, element });
    byId("list").append(element);
    draw(issue.id);
  }
  cursor = page.next_cursor;
  byId("more").hidden = cursor === null;
  showUnseen();
  showState(rows.size ? "" : page.notice ?? emptyText());
}

function showTotal({ total, total_is_exact: isExact }) {
  const count = (total ?? 0).toLocaleString("en");
  byId("total").textContent = `${count}${isExact === false ? "+" : ""} ${total === 1 ? "issue" : "issues"}`;
  byId("total").hidden = !total;
}

function emptyText() {
  return [...filters()].length ? "No matching issues. Change the filters, or press c to create an issue." : "No issues yet. Press c to create one.";
}

function showState(text) {
  byId("list-state").textContent = text;
  byId("list-state").hidden = !text;
}

/** Handle an event: fetch the changed issues soon, once for all events that arrive together. */
export function handleEvent(kind, data) {
  if (!data.issue_id) return;
  if (kind === "issue.deleted") deleted.add(data.issue_id);
  changed.add(data.issue_id);
  if (!isRefreshing) refresh();
}

async function refresh() {
  isRefreshing = true;
  try {
    let pause = PAUSE_MS;
    while (changed.size) {
      await new Promise((resolve) => setTimeout(resolve, pause));
      await loaded;            // a first page in flight may predate the change
      const ids = changed, request = lastLoad;
      changed = new Set();
      try {
        await read(ids, request);
        pause = PAUSE_MS;
      } catch {
        for (const id of ids) changed.add(id);
        pause = RETRY_MS;
      }
    }
  } finally {
    isRefreshing = false;
  }
}

async function read(ids, request) {
  for (const id of deleted) drawRow(id);
  const shown = [...ids].filter((id) => rows.has(id) && !deleted.has(id));
  const found = new Set();
  if (shown.length > ONE_BY_ONE_MAX || shown.length < ids.size) {
    const page = await call("GET", `/issues?${query({ limit: 100 })}`);
    if (request !== lastLoad) return;
    for (const issue of page.items) {
      found.add(issue.id);
      if (rows.has(issue.id)) updateRow(issue);
      else if (ids.has(issue.id)) unseen.add(issue.id);
    }
    for (const id of deleted) unseen.delete(id);
    if (rows.size === 0 && unseen.size) { await load(); return; }
    showUnseen();
  }
  for (const id of shown.filter((one) => !found.has(one))) {
    const issue = await call("GET", `/issues/${id}`).catch((problem) => {
      if (problem.status !== 404) throw problem;
    });
    if (request !== lastLoad) return;
    if (issue) updateRow(issue);
  }
}

/** Show the current version of an issue in its row. */
export function updateRow(issue) {
  const row = rows.get(issue.id);
  if (!row) return;
  row.issue = issue;
  drawRow(issue.id);
}

function showUnseen() {
  byId("fresh").textContent = `${unseen.size} new`;
  byId("fresh").hidden = unseen.size === 0;
}

const drawRow = (id) => drawAfterPress(() => { if (rows.has(id)) draw(id); });

function draw(id) {
  const { issue, element } = rows.get(id);
  const hadFocus = element.contains(document.activeElement);
  element.className = deleted.has(id) ? "gone" : "";
  element.replaceChildren(
    h("a", {
      href: urlWith({ issue: id }), "data-id": id, "aria-current": id === selectedId() ? "true" : null,
      onclick: (event) => {
        if (event.metaKey || event.ctrlKey || event.shiftKey) return;
        event.preventDefault();
        navigate({ issue: id });
      },
    },
      h("span", { class: "title" }, issue.title),
      deleted.has(id) ? h("span", { class: "state none" }, "deleted") : buildState(issue),
      h("span", { class: "meta" },
        h("span", { class: `priority ${issue.priority}` }, issue.priority), ` ${humanize(issue.status)} `,
        buildTags(issue), h("time", { datetime: issue.created_at }, formatTime(issue.created_at)))));
  if (hadFocus) element.firstChild.focus();
}

/** Return an issue's live state, whose seconds are updated by a timer. */
export function buildState(issue) {
  const [kind, text] = stateLabel(issue);
  const span = h("span", { class: `state ${kind}`, "data-ticks": kind === "retrying" || kind === "running" }, text);
  span.issue = issue;
  return span;
}

/** Return an issue's tags: solid if applied, with a mark if a user set them, and dashed if suggested. */
export function buildTags(issue) {
  const applied = issue.tags.map((tag) => {
    const isHuman = issue.tags_confirmed_at !== null || issue.confirmed_tags.includes(tag);
    return h("span", { class: "tag", title: isHuman ? "Set by a user" : "Set automatically" }, tag,
      isHuman && h("span", { class: "human" }, h("span", { "aria-hidden": "true" }, " ✓"), h("span", { class: "unseen" }, " (set by a user)")));
  });
  const suggested = issue.suggested_tags.filter(({ name }) => !issue.tags.includes(name)).map(buildSuggestion);
  return [...applied, ...suggested];
}

/** Return a suggested tag with its confidence. */
export function buildSuggestion({ name, confidence }) {
  return h("span", { class: "tag suggested", title: "Suggested" }, name,
    confidence !== undefined && h("span", { class: "confidence" }, ` ${Math.round(confidence * 100)}%`));
}

/** Mark the row of the open issue. */
export function markSelected() {
  for (const { element } of rows.values()) {
    const link = element.firstChild;
    if (link.dataset.id === selectedId()) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }
}

/** Go to the next (+1) or previous (-1) row from the focused or open one. */
export function moveBy(offset) {
  const links = [...byId("list").querySelectorAll("a")];
  const from = document.activeElement?.dataset?.id ?? selectedId();
  const at = links.findIndex((link) => link.dataset.id === from);
  const next = links[at === -1 ? 0 : at + offset];
  if (!next) return;
  next.focus();
  next.scrollIntoView({ block: "nearest" });
  navigate({ issue: next.dataset.id });
  if (links.indexOf(next) > links.length - 5) loadMore();
}

/** Set up the timer, the buttons and infinite scrolling. */
export function start() {
  setInterval(() => {
    for (const span of document.querySelectorAll("[data-ticks]")) span.textContent = stateLabel(span.issue)[1];
  }, 1000);
  byId("more").addEventListener("click", loadMore);
  byId("fresh").addEventListener("click", async () => {
    await load();
    byId("list").querySelector("a")?.focus();
  });
  new IntersectionObserver((entries) => { if (entries[0].isIntersecting) loadMore(); }).observe(byId("more"));
}
