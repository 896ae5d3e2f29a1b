// Labels and formats.

export const STATUSES = ["open", "in_progress", "resolved", "closed"];
export const PRIORITIES = ["low", "medium", "high", "critical"];
export const STATES = ["pending", "queued", "running", "retrying", "succeeded", "dead", "skipped", "cancelled"];

const timeFormat = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

export const formatTime = (iso) => (iso ? timeFormat.format(new Date(iso)) : "");
export const humanize = (word) => word.replaceAll("_", " ");
const secondsUntil = (iso) => Math.max(0, Math.round((new Date(iso) - Date.now()) / 1000));
const secondsSince = (iso) => Math.max(0, Math.round((Date.now() - new Date(iso)) / 1000));
export const pluralize = (count, one, more = `${one}s`) => `${count} ${count === 1 ? one : more}`;

let retries = 3;
/** Set the number of retries of a job, from the API's settings. */
export function setRetries(count) { retries = count; }

/** Return the live state of an issue: [class, text]. */
export function stateLabel(issue) {
  const state = issue.enrichment?.status;
  switch (state) {
    case undefined: return ["none", "not enriched"];
    case "pending":
    case "queued": return ["pending", issue.enrichment.attempts ? "pending retry" : "pending"];
    case "running": return ["running", `running ${secondsSince(issue.enrichment.started_at)} s`];
    case "retrying": return ["retrying", `retrying ${issue.enrichment.attempts}/${retries} in ${secondsUntil(issue.enrichment.next_retry_at)} s`];
    case "dead": return ["dead", "dead"];
    case "succeeded": return issue.needs_review ? ["review", "needs review"] : ["enriched", "enriched"];
    default: return ["none", state];
  }
}
