// Keyboard shortcuts: single keys, ignored while a form field has the focus.

import { byId, h, show } from "./dom.js";

const HELP = [
  ["j, k", "next issue, previous issue"],
  ["1, 2, 3", "accept suggestion 1, 2 or 3 of the open issue"],
  ["r", "regenerate"],
  ["/", "search"],
  ["c", "new issue"],
  ["?", "show keyboard shortcuts"],
  ["Esc", "close a form"],
];

/** Run `actions[key]` when its key is pressed. */
export function start(actions) {
  document.addEventListener("keydown", (event) => {
    const isTyping = event.target.closest("input, textarea, select, dialog");
    if (isTyping || event.ctrlKey || event.metaKey || event.altKey || !(event.key in actions)) return;
    event.preventDefault();
    actions[event.key]();
  });
  byId("help").addEventListener("click", showHelp);
}

/** Show the keyboard shortcuts. */
export function showHelp() {
  const dialog = h("dialog", { "aria-labelledby": "help-title" }, h("form", { method: "dialog" },
    h("h2", { id: "help-title" }, "Keyboard shortcuts"),
    h("dl", { class: "keys" }, HELP.map(([keys, text]) => [h("dt", {}, h("kbd", {}, keys)), h("dd", {}, text)])),
    h("p", { class: "actions" }, h("button", { class: "primary" }, "Close"))));
  show(dialog);
}
