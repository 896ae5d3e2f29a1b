// Where the page is: everything is in the URL, so that a link shows what its sender saw.

const FILTERS = ["q", "status", "priority", "enrichment", "needs_review", "tag"];

export const VIEWS = ["issues", "queues", "dead"];

let notifyNavigation = () => {};
/** Call `then(before)` whenever the place changes. */
export function onNavigate(then) {
  notifyNavigation = then;
  window.addEventListener("popstate", () => then());
}

const parameters = () => new URLSearchParams(location.search);

export const selectedId = () => parameters().get("issue");
/** Which of the views is shown: the issues, unless the URL says otherwise. */
export const view = () => VIEWS.find((name) => name === parameters().get("view")) ?? "issues";
export const filters = () => [...parameters()].filter(([name, value]) => FILTERS.includes(name) && value);

/** The URL of this place with some parameters changed; null removes one. */
export function urlWith(changes) {
  const wanted = parameters();
  for (const [name, value] of Object.entries(changes)) {
    if (value === null || value === "") wanted.delete(name);
    else wanted.set(name, value);
  }
  const text = wanted.toString();
  return text ? `/?${text}` : "/";
}

/** Go there; `replace` leaves no step behind for the back button. */
export function navigate(changes, { replace = false } = {}) {
  const url = urlWith(changes);
  if (url === location.pathname + location.search) return;
  history[replace ? "replaceState" : "pushState"](null, "", url);
  notifyNavigation();
}
