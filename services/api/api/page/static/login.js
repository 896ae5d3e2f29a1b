// The login: a token goes in once, a cookie that scripts cannot read comes back.

import { call } from "./api.js";
import { byId, h, show } from "./dom.js";

/** Ask for a token until one lets us in. */
export async function logIn() {
  const token = h("input", { type: "password", name: "token", required: true, autocomplete: "current-password", autofocus: true });
  const error = h("p", { class: "error", role: "alert", hidden: true });
  const dialog = h("dialog", { "aria-labelledby": "login-title", oncancel: (event) => event.preventDefault() },
    h("form", {
      onsubmit: async (event) => {
        event.preventDefault();
        try {
          await call("POST", "/session", { token: token.value });
          dialog.close("in");
        } catch (problem) {
          error.textContent = problem.message;
          error.hidden = false;
          token.select();
        }
      },
    },
      h("h2", { id: "login-title" }, "Log in"),
      h("p", {}, "This IssueTracker asks for a token. An admin makes one: issuetracker tokens create NAME"),
      h("label", {}, "Token", token), error,
      h("p", { class: "actions" }, h("button", { class: "primary" }, "Log in"))));
  await show(dialog);
}

/** Show the button that ends the session, where there are sessions. */
export async function offerLogout() {
  const session = await call("GET", "/session").catch(() => null);
  byId("logout").hidden = !session?.auth;
}

/** End the session. */
export async function logOut() {
  await call("DELETE", "/session").catch(() => {});
  location.reload();
}
