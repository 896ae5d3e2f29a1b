// The open issue: the reporter's text first, then the enrichment.

import { call, newKey } from "./api.js";
import { confirmAction, byId, drawAfterPress, h, toast } from "./dom.js";
import { buildState, buildSuggestion, buildTags, updateRow } from "./list.js";
import { navigate, selectedId, urlWith } from "./router.js";
import { PRIORITIES, STATUSES, pluralize, humanize, formatTime } from "./labels.js";

let shown = null;              // {issue, enrichment, runs, similar}
let lastRequest = 0;
let reloadTimer;

/** Fetch and show the issue of the URL. With `soon`, wait briefly, so that several events cause one fetch. */
export async function load({ soon = false } = {}) {
  clearTimeout(reloadTimer);
  if (soon) { reloadTimer = setTimeout(load, 250); return; }
  const id = selectedId(), request = ++lastRequest;
  if (!id) { shown = null; draw(); return; }
  try {
    const [issue, enrichment, runs, similar] = await Promise.all([
      call("GET", `/issues/${id}`),
      call("GET", `/issues/${id}/enrichment`).catch(nullIfNotFound),
      call("GET", `/issues/${id}/enrichments?limit=20`),
      call("GET", `/issues/${id}/similar`).catch(() => null),
    ]);
    if (request !== lastRequest) return;
    shown = { issue, enrichment, runs: runs.items, similar };
    updateRow(issue);
    drawAfterPress(draw);
  } catch (problem) {
    if (request !== lastRequest) return;
    shown = null;
    byId("issue").replaceChildren(h("p", { class: "empty" }, problem.message));
  }
}

function nullIfNotFound(problem) {
  if (problem.status === 404) return null;
  throw problem;
}

/** Return whether the event is about the shown issue. */
export const isAboutShown = (data) => data.issue_id !== undefined && data.issue_id === selectedId();

function draw() {
  const pane = byId("issue");
  if (!shown) {
    pane.replaceChildren(h("p", { class: "empty" }, "Select an issue. Press j and k to move down and up the list."));
    return;
  }
  const { issue } = shown;
  const focused = pane.contains(document.activeElement) ? document.activeElement.dataset?.key : null;
  const open = new Set([...pane.querySelectorAll("details[open]")].map((details) => details.dataset.key));
  pane.replaceChildren(
    h("h2", { tabindex: "-1" }, issue.title),
    h("p", { class: "meta" }, buildState(issue), " ", buildTags(issue), ` ${issue.project} · created ${formatTime(issue.created_at)} `,
      issue.duplicate_of && h("a", { href: urlWith({ issue: issue.duplicate_of }) }, "duplicate of another issue")),
    issue.description ? h("pre", { class: "original", tabindex: "0", "aria-label": "Original text" }, issue.description)
      : h("p", { class: "original empty" }, "No description."),
    h("p", { class: "fields" },
      buildSelect("Status", "status", STATUSES, issue), buildSelect("Priority", "priority", PRIORITIES, issue),
      h("button", { type: "button", class: "danger", "data-key": "delete", onclick: remove }, "Delete")),
    ...buildSummary(), ...buildSuggestions(), ...buildSimilar(), ...buildRuns());
  for (const details of pane.querySelectorAll("details")) details.open = open.has(details.dataset.key);
  if (focused) (pane.querySelector(`[data-key="${CSS.escape(focused)}"]`) ?? pane.querySelector("h2")).focus();
}

function buildSelect(name, field, values, issue) {
  return h("label", {}, name, " ", h("select", {
    "data-key": field, onchange: (event) => act(() => call("PATCH", `/issues/${issue.id}`, { [field]: event.target.value }), `${name} is now ${humanize(event.target.value)}.`),
  }, values.map((value) => h("option", { value, selected: value === issue[field] }, humanize(value)))));
}

function buildSummary() {
  const { issue, enrichment, runs } = shown;
  const source = enrichment && [enrichment.provenance.provider, enrichment.provenance.model, formatTime(enrichment.created_at)].filter(Boolean).join(" · ");
  const isBusy = runs.some((run) => ["pending", "queued", "running", "retrying"].includes(run.state));
  return [
    h("h3", {}, "Summary"),
    h("p", { class: "summary" }, issue.ai_summary ?? describeMissingSummary(issue),
      issue.stale && h("span", { class: "badge", title: "The text has changed since this enrichment" }, "stale")),
    source && h("p", { class: "hint" }, source),
    issue.enrichment?.error && issue.enrichment.status !== "succeeded" && h("p", { class: "error" }, issue.enrichment.error),
    h("p", {}, h("button", { type: "button", "data-key": "regenerate", "aria-keyshortcuts": "r", disabled: isBusy, onclick: regenerate },
      isBusy ? "Running" : "Regenerate")),
  ].filter(Boolean);
}

function describeMissingSummary(issue) {
  switch (issue.enrichment?.status) {
    case "dead": return "None. Every attempt failed; see the dead letters.";
    case "retrying": return "None yet. The last attempt failed and will be retried.";
    case "skipped": return "None. Enrichment is turned off.";
    case "cancelled": return "None. The run was cancelled. Choose Regenerate to start another.";
    default: return "None yet. Waiting for a worker.";
  }
}

function openSuggestions() {
  const { enrichment } = shown;
  if (!enrichment) return [];
  const found = enrichment.tags.filter((tag) => !tag.verdict).map((tag) => ({ name: tag.name, label: tag.name, confidence: tag.confidence, choice: { tags: [tag.name] } }));
  if (enrichment.priority && !enrichment.priority.verdict && enrichment.priority.value !== shown.issue.priority) {
    found.push({ name: "priority", label: `priority ${enrichment.priority.value}`, reason: enrichment.priority.reason, choice: { priority: true } });
  }
  return found;
}

function describeNoSuggestions() {
  const { issue, enrichment } = shown;
  if (enrichment.tags.length || enrichment.priority) return "No open suggestions.";
  return issue.description.trim() ? "None. Low-confidence results are omitted."
    : "None. The text is too short. Add a description.";
}

function buildSuggestions() {
  const found = openSuggestions();
  if (!shown.enrichment) return [];
  return [
    h("h3", {}, "Suggestions"),
    found.length === 0 && h("p", { class: "empty" }, describeNoSuggestions()),
    h("ul", { class: "suggestions" }, found.map((each, index) => h("li", {},
      buildSuggestion({ name: each.label, confidence: each.confidence }),
      each.reason && h("span", { class: "hint" }, ` ${each.reason} `),
      h("button", { type: "button", "data-key": `accept-${each.name}`, "aria-keyshortcuts": index < 3 ? String(index + 1) : null, "aria-label": `Accept ${each.label}`, onclick: () => decide("accept", each) }, "Accept"),
      h("button", { type: "button", "data-key": `reject-${each.name}`, "aria-label": `Reject ${each.label}`, onclick: () => decide("reject", each) }, "Reject")))),
    found.length > 1 && h("p", {}, h("button", { type: "button", "data-key": "apply-all", onclick: applyAll }, "Apply all")),
  ].filter(Boolean);
}

function buildSimilar() {
  const found = shown.similar?.items ?? [];
  return [
    h("h3", {}, "Similar issues"),
    found.length === 0 ? h("p", { class: "empty" }, "None found.") : h("ul", { class: "similar" }, found.map((other) => h("li", {},
      h("a", { href: urlWith({ issue: other.id }), "data-key": `similar-${other.id}`, onclick: (event) => { event.preventDefault(); navigate({ issue: other.id }); } }, other.title),
      ` ${humanize(other.status)}, ${Math.round(other.score * 100)}% similar `,
      other.likely_duplicate && h("span", { class: "badge" }, "likely duplicate")))),
  ];
}

function buildRuns() {
  const { runs } = shown;
  return [
    h("h3", {}, "Runs"),
    runs.length === 0 ? h("p", { class: "empty" }, "None.") : h("ol", { class: "runs" }, runs.map((run) => h("li", {},
      h("details", { "data-key": `run-${run.id}` },
        h("summary", { "data-key": `summary-${run.id}` }, h("span", { class: `state ${run.state}` }, run.state), ` ${formatTime(run.created_at)}, ${pluralize(run.attempts, "attempt")}`),
        h("p", {}, run.summary ?? run.error ?? run.note ?? "No result yet."),
        h("p", { class: "hint" }, [run.provider, run.model, run.finished_at && `finished ${formatTime(run.finished_at)}`].filter(Boolean).join(" · ")))))),
  ];
}

/** Run an action on the issue, show its result as a toast, and reload the issue. */
async function act(action, text) {
  try {
    await action();
    toast(text);
  } catch (problem) {
    toast(problem.message);
  }
  await load();
}

const decide = (verdict, { label, choice: chosen }) => act(
  () => call("POST", `/issues/${shown.issue.id}/suggestions/${verdict}`, chosen), `${label} ${verdict}ed.`);

const applyAll = () => act(() => call("POST", `/issues/${shown.issue.id}/suggestions/accept-all`), "All suggestions applied.");

/** Enrich the open issue again. */
export function regenerate() {
  if (shown) act(() => call("POST", `/issues/${shown.issue.id}/enrichments`, undefined, { "Idempotency-Key": newKey() }), "Enrichment started.");
}

/** Accept a suggestion of the open issue by its number, from 1. */
export function acceptNumber(number) {
  const chosen = shown && openSuggestions()[number - 1];
  if (chosen) decide("accept", chosen);
}

async function remove() {
  const { issue } = shown;
  if (!await confirmAction({ title: "Delete this issue?", text: issue.title, action: "Delete" })) return;
  try {
    await call("DELETE", `/issues/${issue.id}`);
    toast("Issue deleted.");
    navigate({ issue: null });
  } catch (problem) {
    toast(problem.message);
  }
}
