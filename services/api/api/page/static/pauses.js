// The pauses in the queues view. An admin can pause and resume.

import { call } from "./api.js";
import { byId, h, show, toast } from "./dom.js";
import { formatTime } from "./labels.js";

const KINDS = ["queue", "task", "project"];

let isAdmin = false;
let drawn = null;              // the state of the list; drawing it again would move the focus away from its buttons

/** Store whether the session may pause and resume. */
export function setScopes(scopes) {
  isAdmin = scopes.includes("admin");
  byId("pause").hidden = !isAdmin;
}

/** Describe a pause in a sentence. */
export function describePause({ kind, name, reason, paused_by: by }) {
  return `${kind[0].toUpperCase()}${kind.slice(1)} ${name} is paused by ${by}${reason ? `: ${reason}` : "."}`;
}

/** Draw the list if it has changed. */
export function draw(pauses) {
  const state = JSON.stringify([isAdmin, pauses]);
  if (state === drawn) return;
  drawn = state;
  byId("pauses").replaceChildren(...pauses.map((pause) => h("li", {},
    h("span", {}, describePause(pause), h("span", { class: "hint" }, ` Since ${formatTime(pause.paused_at)}`)),
    isAdmin && h("button", { type: "button", onclick: () => resume(pause) }, "Resume", h("span", { class: "unseen" }, ` ${pause.kind} ${pause.name}`)))));
}

const pathOf = ({ kind, name }) => `/pauses/${kind}/${encodeURIComponent(name)}`;

async function resume(pause) {
  try {
    await call("DELETE", pathOf(pause));
    toast(`Resumed ${pause.kind} ${pause.name}.`);
  } catch (problem) {
    toast(problem.message);
  }
}

/** Show the form for a new pause. */
async function openForm() {
  const kind = h("select", { name: "kind" }, KINDS.map((value) => h("option", { value }, value)));
  const name = h("input", { name: "name", required: true, pattern: "[a-z0-9].*", title: "Begin with a lower-case letter or a digit.", autocomplete: "off" });
  const reason = h("input", { name: "reason", maxlength: "500", autocomplete: "off" });
  const error = h("p", { class: "error", role: "alert", hidden: true });
  const dialog = h("dialog", { "aria-labelledby": "pause-title" },
    h("form", { onsubmit: submit },
      h("h2", { id: "pause-title" }, "Pause"),
      h("p", {}, "Running jobs end. No other job starts until you resume."),
      h("label", {}, "Kind", kind),
      h("label", {}, "Name", name),
      h("label", {}, "Reason (optional)", reason), error,
      h("p", { class: "actions" },
        h("button", { type: "button", onclick: () => dialog.close("") }, "Cancel"),
        h("button", { class: "primary" }, "Pause"))));

  async function submit(event) {
    event.preventDefault();
    const pause = { kind: kind.value, name: name.value.trim() };
    try {
      await call("PUT", pathOf(pause), { reason: reason.value.trim() || null });
      toast(`Paused ${pause.kind} ${pause.name}.`);
      dialog.close("paused");
    } catch (problem) {
      error.textContent = problem.message;
      error.hidden = false;
    }
  }

  await show(dialog);
}

/** Set up the button. */
export function start() {
  byId("pause").addEventListener("click", openForm);
}
