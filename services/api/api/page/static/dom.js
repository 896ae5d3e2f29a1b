// Elements from data. Text goes in as text: nothing that anybody wrote is ever parsed as HTML.

export const byId = (id) => document.getElementById(id);

/** Make an element: h("a", {href: "/", class: "x", onclick: f}, "text", child, null). */
export function h(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

let silence;

/** Say in one line, to eyes and screen readers, what has come of an action. */
export function toast(text) {
  const element = byId("toast");
  element.textContent = text;
  element.hidden = false;
  clearTimeout(silence);
  silence = setTimeout(() => { element.hidden = true; }, 6000);
}

/** Show a dialog and resolve with what it was closed with; "" when it was cancelled. */
export function show(dialog) {
  const before = document.activeElement;
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      if (before?.isConnected) before.focus();
      resolve(dialog.returnValue);
    });
  });
}

/** Ask before something is done; `field` asks for a line of text too. Resolve with it, or true, or null. */
export async function confirmAction({ title, text, action, field }) {
  const input = field && h("input", { required: true, maxlength: "500", id: "asked" });
  const dialog = h("dialog", { "aria-labelledby": "ask-title" },
    h("form", { method: "dialog" },
      h("h2", { id: "ask-title" }, title),
      h("p", {}, text),
      field && h("label", {}, field, input),
      h("p", { class: "actions" },
        h("button", { type: "button", onclick: () => dialog.close("") }, "Cancel"),
        h("button", { value: "yes", class: "primary" }, action))));
  if (await show(dialog) !== "yes") return null;
  return field ? input.value : true;
}
