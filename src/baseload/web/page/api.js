// What the page asks the gateway for, and how it shows who asks. The token stays in this tab.

const TIMEOUT_MS = 4000;
const TOKEN = "baseload-admin-token";
const BASE = new URL("../api/v1/", document.baseURI);

/** An answer that is none, with a status, or 0 if nobody answered. */
export class NoAnswer extends Error {
  constructor(status, words) {
    super(words);
    this.status = status;
  }
}

let token = sessionStorage.getItem(TOKEN);

export function hasToken() {
  return token !== null;
}

export function keepToken(value) {
  token = value.trim();
  sessionStorage.setItem(TOKEN, token);
}

export function forgetToken() {
  token = null;
  sessionStorage.removeItem(TOKEN);
}

async function ask(path, options, headers) {
  if (token !== null) headers.authorization = `Bearer ${token}`;
  let answer;
  try {
    answer = await fetch(new URL(path, BASE), {
      ...options, headers, cache: "no-store", credentials: "same-origin", redirect: "error",
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    if (answer.ok) return await answer.json();
  } catch (error) {
    throw new NoAnswer(0, error.name === "TimeoutError" ? "no answer in time" : "not reachable");
  }
  throw new NoAnswer(answer.status, await wordsOf(answer));
}

/** Give an error's own words, in whichever of the usual forms they come. */
async function wordsOf(answer) {
  try {
    const body = await answer.json();
    const words = body.error?.message ?? body.detail ?? body.message;
    if (typeof words === "string") return words;
  } catch {
    // No JSON: the status has to do.
  }
  return `status ${answer.status}`;
}

/** How things stand, with what is new since a tick. */
export const live = (since) => ask(`live?since=${since}`, { method: "GET" }, {});

/** Drain, disable or enable a backend. */
export const operate = (backend, action) =>
  ask(
    `backends/${encodeURIComponent(backend)}/${action}`,
    { method: "POST", body: "{}" },
    { "content-type": "application/json", "x-baseload-admin": "1" },
  );
