// Login: exchange a token for a session cookie that scripts cannot read.

import { call } from "./api.js";
import { byId, h, show } from "./dom.js";

/** Request a token until the login succeeds. */
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
      h("p", {}, "Log in with an API token. An admin creates one with: issuetracker tokens create NAME --scope SCOPE"),
      h("label", {}, "Token", token), error,
      h("p", { class: "actions" }, h("button", { class: "primary" }, "Log in"))));
  await show(dialog);
}

/** Show the logout button if authentication is on. Return the scopes of the session. */
export async function offerLogout() {
  const session = await call("GET", "/session").catch(() => null);
  byId("logout").hidden = !session?.auth;
  return session?.scopes ?? [];
}

/** End the session. */
export async function logOut() {
  await call("DELETE", "/session").catch(() => {});
  location.reload();
}
