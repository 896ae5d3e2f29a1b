// The dead letters view: replay and discard, one by one or by error.

import { call, newKey } from "./api.js";
import { confirmAction, byId, h, toast } from "./dom.js";
import { navigate } from "./router.js";
import { pluralize, formatTime } from "./labels.js";

let cursor = null;
let lastRequest = 0;

/** Fetch and show the dead letters. */
export async function load() {
  const request = ++lastRequest;
  try {
    const [page, counts] = await Promise.all([
      call("GET", "/dead-letters?limit=50"),
      call("POST", "/dead-letters/replay", { dry_run: true }),
    ]);
    if (request !== lastRequest) return;
    byId("dead-list").replaceChildren();
    byId("dead-groups").replaceChildren(...buildGroups(counts));
    append(page);
    showState(page.items.length ? "" : "No dead letters.");
  } catch (problem) {
    if (request === lastRequest) showState(problem.message);
  }
}

function showState(text) {
  byId("dead-state").textContent = text;
  byId("dead-state").hidden = !text;
}

async function loadMore() {
  if (cursor === null) return;
  try {
    append(await call("GET", `/dead-letters?limit=50&cursor=${encodeURIComponent(cursor)}`));
  } catch (problem) {
    toast(problem.message);
  }
}

function append(page) {
  byId("dead-list").append(...page.items.map(buildRow));
  cursor = page.next_cursor;
  byId("dead-more").hidden = cursor === null;
}

function buildGroups(counts) {
  const rows = counts.errors.map(({ error, count }) => h("li", {},
    h("code", {}, error ?? "no error stored"), ` ${pluralize(count, "job")} `,
    error && h("button", { type: "button", onclick: () => replayAll({ error }) }, "Replay all", h("span", { class: "unseen" }, ` with ${error}`))));
  if (counts.matched > 0) rows.push(h("li", {}, h("strong", {}, "All"), ` ${pluralize(counts.matched, "job")} `,
    h("button", { type: "button", onclick: () => replayAll({}) }, "Replay all", h("span", { class: "unseen" }, " dead jobs"))));
  return rows;
}

/** Count the matching jobs, request a confirmation, and replay them. */
async function replayAll(matching) {
  await act(async () => {
    const { matched } = await call("POST", "/dead-letters/replay", { ...matching, dry_run: true });
    const isConfirmed = await confirmAction({ title: `Replay ${pluralize(matched, "job")}?`, text: matching.error ?? "All dead jobs.", action: `Replay ${matched}` });
    if (!isConfirmed) return null;
    const { replayed } = await call("POST", "/dead-letters/replay", matching, { "Idempotency-Key": newKey() });
    return `${pluralize(replayed, "job")} will run again.`;
  });
}

function buildRow(letter) {
  const attempts = h("div");
  return h("li", {},
    h("details", { ontoggle: (event) => { if (event.target.open) showAttempts(letter.id, attempts); } },
      h("summary", {}, h("span", { class: "title" }, letter.error ?? "No error stored"),
        h("span", { class: "hint" }, ` ${letter.task ?? "not a job"} · ${pluralize(letter.attempts, "attempt")} · ${formatTime(letter.died_at)}`)),
      attempts),
    h("p", { class: "actions" },
      letter.issue_id && h("a", { href: `/?issue=${letter.issue_id}`, onclick: (event) => { event.preventDefault(); navigate({ view: null, issue: letter.issue_id }); } }, "Issue"),
      h("button", { type: "button", onclick: () => act(async () => { await call("POST", `/dead-letters/${letter.id}/replay`); return "Replayed. The job will run soon."; }) }, "Replay"),
      h("button", { type: "button", class: "danger", onclick: () => discard(letter) }, "Discard")));
}

async function discard(letter) {
  const reason = await confirmAction({ title: "Discard this dead letter?", text: letter.error ?? "", action: "Discard", field: "Reason" });
  if (reason) await act(async () => { await call("POST", `/dead-letters/${letter.id}/discard`, { reason }); return "Dead letter discarded."; });
}

async function showAttempts(id, place) {
  try {
    const letter = await call("GET", `/dead-letters/${id}`);
    place.replaceChildren(...letter.failures.map((failure) => h("section", {},
      h("p", {}, `Attempt ${failure.attempt}, ${formatTime(failure.failed_at)}, ${failure.worker ?? "no worker"}: ${failure.error}`),
      failure.traceback && h("pre", { tabindex: "0", "aria-label": "Traceback" }, failure.traceback))),
      letter.raw ? h("pre", { tabindex: "0", "aria-label": "Raw message" }, letter.raw) : "");
  } catch (problem) {
    place.replaceChildren(h("p", { class: "error" }, problem.message));
  }
}

async function act(action) {
  try {
    const text = await action();
    if (text) toast(text);
  } catch (problem) {
    toast(problem.message);
  }
  await load();
}

/** Set up the "Show more" button. */
export function start() {
  byId("dead-more").addEventListener("click", loadMore);
}
