// Puts the parts together: the URL says what is shown, the stream says when to read it again.

import { call } from "./api.js";
import * as dead from "./dead.js";
import { byId, h } from "./dom.js";
import { showLive, showStatus } from "./header.js";
import * as issue from "./issue.js";
import * as keys from "./keys.js";
import * as list from "./list.js";
import { logIn, logOut, offerLogout } from "./login.js";
import { filters, go, isDead, onMove, selectedId, urlWith } from "./place.js";
import { listen } from "./stream.js";
import { PRIORITIES, STATES, STATUSES, plain } from "./words.js";
import { write } from "./write.js";

const form = byId("filters");
let shown = { filters: null, issue: undefined, dead: null };
let typing;

function options(name, values) {
  form.elements[name].replaceChildren(h("option", { value: "" }, "any"), ...values.map((value) => h("option", { value }, plain(value))));
}

/** Show the place that the URL names; `all` reads everything again. */
function render({ all = false } = {}) {
  const now = { filters: JSON.stringify(filters()), issue: selectedId(), dead: isDead() };
  const before = all ? {} : shown;
  shown = now;
  byId("issues").hidden = now.dead;
  byId("dead").hidden = !now.dead;
  for (const [id, isOn] of [["tab-issues", !now.dead], ["tab-dead", now.dead]]) {
    if (isOn) byId(id).setAttribute("aria-current", "page");
    else byId(id).removeAttribute("aria-current");
  }
  const wanted = Object.fromEntries(filters());
  for (const field of form.elements) if (document.activeElement !== field || field.value === "") field.value = wanted[field.name] ?? "";
  if (now.dead) {
    if (before.dead !== true) dead.load();
    return;
  }
  if (now.filters !== before.filters || before.dead) list.load();
  if (now.issue !== before.issue || before.dead) { list.mark(); issue.load(); }
}

function filter() {
  clearTimeout(typing);
  go(Object.fromEntries([...new FormData(form)].map(([name, value]) => [name, value.trim()])), { replace: true });
}

for (const [id, changes] of [["tab-issues", { view: null }], ["tab-dead", { view: "dead" }]]) {
  byId(id).addEventListener("click", (event) => { event.preventDefault(); go(changes); });
}
form.addEventListener("submit", (event) => { event.preventDefault(); filter(); });
form.addEventListener("change", filter);
form.addEventListener("input", () => { clearTimeout(typing); typing = setTimeout(filter, 300); });
byId("new").addEventListener("click", write);
byId("logout").addEventListener("click", logOut);

options("status", STATUSES);
options("priority", PRIORITIES);
options("enrichment", STATES);
options("tag", []);
async function readTags() {
  const { items } = await call("GET", "/tags");
  options("tag", items.map((tag) => tag.name).filter((name) => !name.includes(":xx")));
  form.elements.tag.value = Object.fromEntries(filters()).tag ?? "";
}

list.start();
dead.start();
keys.start({
  j: () => list.step(1),
  k: () => list.step(-1),
  1: () => issue.acceptNumber(1),
  2: () => issue.acceptNumber(2),
  3: () => issue.acceptNumber(3),
  r: issue.regenerate,
  "/": () => { go({ view: null }); form.elements.q.focus(); },
  c: write,
  "?": keys.help,
});
onMove(render);

const reopen = listen({
  onSync: () => { render({ all: true }); readTags().catch(() => {}); },
  onEvent: (kind, data) => {
    list.note(kind, data);
    if (isDead()) { if (kind === "job.changed") deadSoon(); return; }
    if (issue.concerns(data)) issue.load({ soon: true });
  },
  onStatus: showStatus,
  onLive: showLive,
});
let deadTimer;
function deadSoon() {
  clearTimeout(deadTimer);
  deadTimer = setTimeout(dead.load, 500);
}

window.addEventListener("login-needed", async () => {
  await logIn();
  offerLogout();
  reopen();
});
offerLogout();
render({ all: true });
