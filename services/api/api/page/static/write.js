// The form for a new issue. It shows similar issues while you type, and creates one issue even if sent twice.

import { call, newKey } from "./api.js";
import { h, toast, show } from "./dom.js";
import { navigate } from "./router.js";
import { PRIORITIES, humanize } from "./labels.js";

const PAUSE_MS = 300;

/** Show the form, then open the created issue. */
export async function openForm() {
  const key = newKey();
  const title = h("input", { name: "title", required: true, maxlength: "512", autocomplete: "off", autofocus: true });
  const description = h("textarea", { name: "description", rows: "8", maxlength: "65536" });
  const priority = h("select", { name: "priority" }, PRIORITIES.map((value) => h("option", { value, selected: value === "medium" }, value)));
  const similar = h("div", { role: "status" });
  const error = h("p", { class: "error", role: "alert", hidden: true });
  const create = h("button", { class: "primary" }, "Create");
  let created = null, typing;

  const dialog = h("dialog", { "aria-labelledby": "write-title", class: "write" },
    h("form", { onsubmit: submit },
      h("h2", { id: "write-title" }, "New issue"),
      h("label", {}, "Title", title), similar,
      h("label", {}, "Description", description),
      h("label", {}, "Priority", priority), error,
      h("p", { class: "actions" }, h("button", { type: "button", onclick: () => dialog.close("") }, "Cancel"), create)));
  title.addEventListener("input", () => { clearTimeout(typing); typing = setTimeout(showSimilar, PAUSE_MS); });

  async function showSimilar() {
    const words = title.value.match(/[\p{L}\p{N}]{3,}/gu) ?? [];
    const wanted = title.value;
    if (words.length < 2) { similar.replaceChildren(); return; }
    const q = words.slice(0, 12).join(" or ").slice(0, 200);
    const page = await call("GET", `/issues?${new URLSearchParams({ q, limit: 3 })}`).catch(() => ({ items: [] }));
    if (wanted !== title.value) return;
    similar.replaceChildren(...(page.items.length === 0 ? [] : [
      h("p", { class: "hint" }, "Similar issues:"),
      h("ul", { class: "similar" }, page.items.map((issue) => h("li", {},
        h("a", { href: `/?issue=${issue.id}`, target: "_blank" }, issue.title), ` ${humanize(issue.status)}`)))]));
  }

  async function submit(event) {
    event.preventDefault();
    create.disabled = true;
    error.hidden = true;
    const body = { title: title.value, description: description.value, priority: priority.value };
    try {
      // The key depends on the content, because a form corrected after an error is a different request.
      created = await call("POST", "/issues", body, { "Idempotency-Key": `${key}-${await digest(JSON.stringify(body))}` });
      dialog.close("created");
    } catch (problem) {
      error.textContent = problem.status === 0 ? "The API cannot be reached. Press Create again; only one issue will be created." : problem.message;
      error.hidden = false;
    }
    create.disabled = false;
  }

  await show(dialog);
  if (!created) return;
  toast("Issue created. It is enriched in the background.");
  navigate({ view: null, issue: created.id });
}

// FNV-1a: no secrecy is needed, and crypto.subtle is missing on pages served over plain HTTP.
async function digest(text) {
  let hash = 2166136261;
  for (let at = 0; at < text.length; at += 1) hash = Math.imul(hash ^ text.charCodeAt(at), 16777619);
  return (hash >>> 0).toString(16);
}
