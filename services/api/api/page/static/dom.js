// Build elements from data. Text is inserted as text: user input is never parsed as HTML.

export const byId = (id) => document.getElementById(id);

/** Create an element: h("a", {href: "/", class: "x", onclick: f}, "text", child, null). */
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

let isPressed = false;
const waiting = new Set();

document.addEventListener("pointerdown", (event) => { if (event.button === 0) isPressed = true; }, true);
for (const name of ["pointerup", "pointercancel"]) document.addEventListener(name, release, true);
document.addEventListener("pointermove", (event) => { if (event.buttons === 0) release(); }, true);

function release() {
  if (!isPressed) return;
  isPressed = false;
  setTimeout(() => { // after the click
    const draws = [...waiting];
    waiting.clear();
    for (const draw of draws) draw();
  });
}

/** Draw now, or after the mouse button is released: an element that is replaced while it is pressed gets no click. */
export function drawAfterPress(draw) {
  if (isPressed) waiting.add(draw);
  else draw();
}

let hideTimer;

/** Show the result of an action in one line, also to screen readers. */
export function toast(text) {
  const element = byId("toast");
  element.textContent = text;
  element.hidden = false;
  clearTimeout(hideTimer);
  hideTimer = setTimeout(() => { element.hidden = true; }, 6000);
}

/** Show a dialog and resolve with its return value, which is "" if it was cancelled. */
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

/** Request a confirmation. Resolve with true, or with the text of the input if `field` labels one, or null if cancelled. */
export async function confirmAction({ title, text, action, field }) {
  const input = field && h("input", { required: true, maxlength: "500", id: "confirm-field" });
  const dialog = h("dialog", { "aria-labelledby": "confirm-title" },
    h("form", { method: "dialog" },
      h("h2", { id: "confirm-title" }, title),
      h("p", {}, text),
      field && h("label", {}, field, input),
      h("p", { class: "actions" },
        h("button", { type: "button", onclick: () => dialog.close("") }, "Cancel"),
        h("button", { value: "yes", class: "primary" }, action))));
  if (await show(dialog) !== "yes") return null;
  return field ? input.value : true;
}
