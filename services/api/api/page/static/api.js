// Client of the HTTP API. Every error is a problem document (RFC 9457) whose detail is shown to the user.

export const API = "/api/v1";

export class Problem extends Error {
  constructor(status, document = {}) {
    super(document.detail ?? `The API returned status ${status}.`);
    this.status = status;
  }
}

/** Call the API. Return the JSON of the response, or null if it is empty; throw a Problem on an error. */
export async function call(method, path, body, headers = {}) {
  const options = { method, headers: { ...headers } };
  if (body !== undefined) {
    options.body = JSON.stringify(body);
    options.headers["Content-Type"] = method === "PATCH" ? "application/merge-patch+json" : "application/json";
  }
  let response;
  try {
    response = await fetch(API + path, options);
  } catch {
    throw new Problem(0, { detail: "The API cannot be reached. The change may not have been saved." });
  }
  if (response.status === 401 && path !== "/session") window.dispatchEvent(new Event("login-needed"));
  const text = await response.text();
  let json = null;
  try { json = text ? JSON.parse(text) : null; } catch { /* a proxy's response, not the API's */ }
  if (!response.ok) throw new Problem(response.status, json ?? {});
  return json;
}

/** Return a new Idempotency-Key, with which a repeated POST takes effect only once. */
export function newKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
