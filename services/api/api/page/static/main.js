// Entry point: the URL determines the view, and the event stream triggers updates.

import { call } from "./api.js";
import * as completion from "./completion.js";
import * as dead from "./dead.js";
import { byId, h } from "./dom.js";
import { showLive, showStatus } from "./header.js";
import * as issue from "./issue.js";
import * as keys from "./keys.js";
import * as list from "./list.js";
import { logIn, logOut, offerLogout } from "./login.js";
import * as pauses from "./pauses.js";
import { VIEWS, filters, navigate, onNavigate, selectedId, view } from "./router.js";
import * as queues from "./queues.js";
import { listen } from "./stream.js";
import { PRIORITIES, STATES, STATUSES, humanize } from "./labels.js";
import { openForm } from "./write.js";

const form = byId("filters");
let shown = {};
let typing = null;           // the timer of an edit that is not yet applied to the URL

function fillOptions(name, values, text = humanize) {
  form.elements[name].replaceChildren(h("option", { value: "" }, "any"), ...values.map((value) => h("option", { value }, text(value))));
}

/** Show the view of the URL; with `all`, fetch everything again. */
function render({ all = false } = {}) {
  const now = { filters: JSON.stringify(filters()), issue: selectedId(), view: view() };
  const before = all ? {} : shown;
  shown = now;
  for (const name of VIEWS) {
    byId(name).hidden = name !== now.view;
    if (name === now.view) byId(`tab-${name}`).setAttribute("aria-current", "page");
    else byId(`tab-${name}`).removeAttribute("aria-current");
  }
  if (typing === null) showFilters();
  const isNew = now.view !== before.view;
  if (now.view === "queues") queues.draw();
  if (now.view === "dead" && isNew) dead.load();
  if (now.view !== "issues") return;
  if (isNew || now.filters !== before.filters) list.load();
  if (isNew || now.issue !== before.issue) { list.markSelected(); issue.load(); }
}

function showFilters() {
  const wanted = Object.fromEntries(filters());
  for (const field of form.elements) if (document.activeElement !== field || field.value === "") field.value = wanted[field.name] ?? "";
}

function applyFilters() {
  clearTimeout(typing);
  typing = null;
  navigate(Object.fromEntries([...new FormData(form)].map(([name, value]) => [name, value.trim()])), { replace: true });
}

for (const name of VIEWS) {
  byId(`tab-${name}`).addEventListener("click", (event) => { event.preventDefault(); navigate({ view: name === "issues" ? null : name }); });
}
form.addEventListener("submit", (event) => { event.preventDefault(); applyFilters(); });
form.addEventListener("change", applyFilters);
form.addEventListener("input", () => { clearTimeout(typing); typing = setTimeout(applyFilters, 300); });
byId("new").addEventListener("click", openForm);
byId("logout").addEventListener("click", logOut);

fillOptions("status", STATUSES);
fillOptions("priority", PRIORITIES);
fillOptions("enrichment", STATES);
fillOptions("needs_review", ["true"], () => "needed");
fillOptions("tag", []);
async function readTags() {
  const { items } = await call("GET", "/tags");
  fillOptions("tag", items.map((tag) => tag.name).filter((name) => !name.includes(":xx")));
  form.elements.tag.value = Object.fromEntries(filters()).tag ?? "";
}

list.start();
completion.start();
dead.start();
queues.start();
pauses.start();
keys.start({
  j: () => list.moveBy(1),
  k: () => list.moveBy(-1),
  1: () => issue.acceptNumber(1),
  2: () => issue.acceptNumber(2),
  3: () => issue.acceptNumber(3),
  r: issue.regenerate,
  "/": () => { navigate({ view: null }); form.elements.q.focus(); },
  c: openForm,
  "?": keys.showHelp,
});
onNavigate(render);

const reopen = listen({
  onSync: () => { render({ all: true }); readTags().catch(() => {}); },
  onEvent: (kind, data) => {
    list.handleEvent(kind, data);
    if (view() === "dead" && kind === "job.changed") reloadDeadSoon();
    if (view() === "issues" && issue.isAboutShown(data)) issue.load({ soon: true });
  },
  onStatus: (status) => { showStatus(status); queues.handleStatus(status); },
  onLive: (isLive) => { showLive(isLive); queues.handleLive(isLive); },
  onRejected: () => { readTags().catch(() => {}); },
});
let deadTimer;
function reloadDeadSoon() {
  clearTimeout(deadTimer);
  deadTimer = setTimeout(dead.load, 500);
}

async function showSession() {
  pauses.setScopes(await offerLogout());
  queues.draw();
}
async function logInAgain() {
  await logIn();
  showSession();
  reopen();
  render({ all: true });
}
let entering = null;
// Several requests may fail with 401 at the same time. Show one login form, and fetch everything once after the login.
window.addEventListener("login-needed", () => { entering ??= logInAgain().finally(() => { entering = null; }); });
showSession();
render({ all: true });
