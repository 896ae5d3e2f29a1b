// Keys: one letter each, and only while nobody types.

import { byId, h, show } from "./dom.js";

const HELP = [
  ["j, k", "next issue, issue before"],
  ["1, 2, 3", "accept that suggestion of the open issue"],
  ["r", "regenerate"],
  ["/", "search"],
  ["c", "new issue"],
  ["?", "these keys"],
  ["Esc", "close a form"],
];

/** Run `actions[key]` on its key. */
export function start(actions) {
  document.addEventListener("keydown", (event) => {
    const isTyping = event.target.closest("input, textarea, select, dialog");
    if (isTyping || event.ctrlKey || event.metaKey || event.altKey || !(event.key in actions)) return;
    event.preventDefault();
    actions[event.key]();
  });
  byId("help").addEventListener("click", help);
}

/** Show the keys. */
export function help() {
  const dialog = h("dialog", { "aria-labelledby": "help-title" }, h("form", { method: "dialog" },
    h("h2", { id: "help-title" }, "Keys"),
    h("dl", { class: "keys" }, HELP.map(([keys, text]) => [h("dt", {}, h("kbd", {}, keys)), h("dd", {}, text)])),
    h("p", { class: "actions" }, h("button", { class: "primary" }, "Close"))));
  show(dialog);
}
