// The HTTP API. Every error is a problem document (RFC 9457), whose detail is a sentence to show.

export const API = "/api/v1";

export class Problem extends Error {
  constructor(status, document = {}) {
    const fields = (document.errors ?? []).map((error) => error.detail ?? error.message).filter(Boolean);
    super(fields.length ? fields.join(" ") : document.detail ?? `The API answered ${status}.`);
    this.status = status;
  }
}

/** Call the API; return the answer's JSON, null of an empty one; throw a Problem. */
export async function call(method, path, body, headers = {}) {
  const options = { method, headers: { ...headers } };
  if (body !== undefined) {
    options.body = JSON.stringify(body);
    options.headers["Content-Type"] = method === "PATCH" ? "application/merge-patch+json" : "application/json";
  }
  let answer;
  try {
    answer = await fetch(API + path, options);
  } catch {
    throw new Problem(0, { detail: "The API cannot be reached. Nothing was changed, or it is not known." });
  }
  if (answer.status === 401 && path !== "/session") window.dispatchEvent(new Event("login-needed"));
  const text = await answer.text();
  let json = null;
  try { json = text ? JSON.parse(text) : null; } catch { /* a proxy's page, not the API's */ }
  if (!answer.ok) throw new Problem(answer.status, json ?? {});
  return json;
}

/** A new Idempotency-Key: with it a POST that is sent again is carried out once. */
export function newKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
