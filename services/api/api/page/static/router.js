// The router: view, filters and selected issue are in the URL, so that they can be shared as a link.

const FILTERS = ["q", "status", "priority", "enrichment", "needs_review", "tag"];

export const VIEWS = ["issues", "queues", "dead"];

let notifyNavigation = () => {};
/** Call `then()` after each navigation. */
export function onNavigate(then) {
  notifyNavigation = then;
  window.addEventListener("popstate", () => then());
}

const parameters = () => new URLSearchParams(location.search);

const UUID = /^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/i;

/** Return the id of the selected issue; null if the URL has none that may be part of a path. */
export const selectedId = () => parameters().get("issue")?.match(UUID)?.[0] ?? null;
/** Return the current view; the default is the issues. */
export const view = () => VIEWS.find((name) => name === parameters().get("view")) ?? "issues";
export const filters = () => [...parameters()].filter(([name, value]) => FILTERS.includes(name) && value);

/** Return the current URL with some parameters changed; null removes a parameter. */
export function urlWith(changes) {
  const wanted = parameters();
  for (const [name, value] of Object.entries(changes)) {
    if (value === null || value === "") wanted.delete(name);
    else wanted.set(name, value);
  }
  const text = wanted.toString();
  return text ? `/?${text}` : "/";
}

/** Navigate to the changed URL; `replace` adds no history entry. */
export function navigate(changes, { replace = false } = {}) {
  const url = urlWith(changes);
  if (url === location.pathname + location.search) return;
  history[replace ? "replaceState" : "pushState"](null, "", url);
  notifyNavigation();
}
