// Entry point: the URL determines the view, and the event stream triggers updates.

import { call } from "./api.js";
import * as dead from "./dead.js";
import { byId, h } from "./dom.js";
import { showLive, showStatus } from "./header.js";
import * as issue from "./issue.js";
import * as keys from "./keys.js";
import * as list from "./list.js";
import { logIn, logOut, offerLogout } from "./login.js";
import { VIEWS, filters, navigate, onNavigate, selectedId, view } from "./router.js";
import * as queues from "./queues.js";
import { listen } from "./stream.js";
import { PRIORITIES, STATES, STATUSES, humanize } from "./labels.js";
import { write } from "./write.js";

const form = byId("filters");
let shown = {};
let typing;

function options(name, values, text = humanize) {
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
  const wanted = Object.fromEntries(filters());
  for (const field of form.elements) if (document.activeElement !== field || field.value === "") field.value = wanted[field.name] ?? "";
  const isNew = now.view !== before.view;
  if (now.view === "queues") queues.draw();
  if (now.view === "dead" && isNew) dead.load();
  if (now.view !== "issues") return;
  if (isNew || now.filters !== before.filters) list.load();
  if (isNew || now.issue !== before.issue) { list.mark(); issue.load(); }
}

function filter() {
  clearTimeout(typing);
  navigate(Object.fromEntries([...new FormData(form)].map(([name, value]) => [name, value.trim()])), { replace: true });
}

for (const name of VIEWS) {
  byId(`tab-${name}`).addEventListener("click", (event) => { event.preventDefault(); navigate({ view: name === "issues" ? null : name }); });
}
form.addEventListener("submit", (event) => { event.preventDefault(); filter(); });
form.addEventListener("change", filter);
form.addEventListener("input", () => { clearTimeout(typing); typing = setTimeout(filter, 300); });
byId("new").addEventListener("click", write);
byId("logout").addEventListener("click", logOut);

options("status", STATUSES);
options("priority", PRIORITIES);
options("enrichment", STATES);
options("needs_review", ["true"], () => "needed");
options("tag", []);
async function readTags() {
  const { items } = await call("GET", "/tags");
  options("tag", items.map((tag) => tag.name).filter((name) => !name.includes(":xx")));
  form.elements.tag.value = Object.fromEntries(filters()).tag ?? "";
}

list.start();
dead.start();
queues.start();
keys.start({
  j: () => list.step(1),
  k: () => list.step(-1),
  1: () => issue.acceptNumber(1),
  2: () => issue.acceptNumber(2),
  3: () => issue.acceptNumber(3),
  r: issue.regenerate,
  "/": () => { navigate({ view: null }); form.elements.q.focus(); },
  c: write,
  "?": keys.help,
});
onNavigate(render);

const reopen = listen({
  onSync: () => { render({ all: true }); readTags().catch(() => {}); },
  onEvent: (kind, data) => {
    list.note(kind, data);
    if (view() === "dead" && kind === "job.changed") deadSoon();
    if (view() === "issues" && issue.concerns(data)) issue.load({ soon: true });
  },
  onStatus: (status) => { showStatus(status); queues.note(status); },
  onLive: (isLive) => { showLive(isLive); queues.noteLive(isLive); },
  onRejected: () => { readTags().catch(() => {}); },
});
let deadTimer;
function deadSoon() {
  clearTimeout(deadTimer);
  deadTimer = setTimeout(dead.load, 500);
}

async function enter() {
  await logIn();
  offerLogout();
  reopen();
  render({ all: true });
}
let entering = null;
// Several requests may fail with 401 at the same time. Show one login form, and fetch everything once after the login.
window.addEventListener("login-needed", () => { entering ??= enter().finally(() => { entering = null; }); });
offerLogout();
render({ all: true });
