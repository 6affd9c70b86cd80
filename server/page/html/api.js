// Requests to this server, with the token that was given. The token is kept in this tab only: in memory, and in the tab's
// session storage where that was asked for.

const STORED = "evoke-token";
let token = sessionStorage.getItem(STORED) || "";

export class ApiError extends Error {
  constructor(status, { code = "", reason = "", message = "" } = {}) {
    super(message);
    this.status = status;
    this.code = code;
    this.reason = reason;
  }
}

export const signedIn = () => token !== "";

export function signIn(value, keep) {
  token = value;
  if (keep) sessionStorage.setItem(STORED, value);
}

export function signOut() {
  token = "";
  sessionStorage.removeItem(STORED);
}

// The parsed answer; ApiError for what the server refuses, with status 0 when it cannot be reached.
async function ask(path, options = {}) {
  const headers = { ...options.headers };
  if (token) headers.Authorization = `Bearer ${token}`;
  let response;
  try {
    response = await fetch(path, { ...options, headers, cache: "no-store", credentials: "omit",
                                   signal: AbortSignal.timeout(15000) });
  } catch {
    throw new ApiError(0, { message: "The server cannot be reached." });
  }
  const text = await response.text();
  let body = {};
  try {
    body = JSON.parse(text);
  } catch {
    body = { error: { message: text.trim() } };
  }
  if (!response.ok) throw new ApiError(response.status, body.error);
  return body;
}

const ofMemory = (name, rest = "") => `/api/v1/memories/${encodeURIComponent(name)}${rest}`;

export const status = () => ask("/api/v1/status");
export const memory = (name) => ask(ofMemory(name));
export const slotsOfValue = (name, value) =>
  ask(ofMemory(name, `/slots?limit=48&value=${encodeURIComponent(value)}`));
export const neighborsOf = (name, slot) =>
  ask(ofMemory(name, `/neighbors?count=24&slot=${encodeURIComponent(slot)}`));
export const query = (name, embedding) =>
  ask(ofMemory(name, "/query"), { method: "POST", headers: { "Content-Type": "application/json" },
                                  body: JSON.stringify({ embedding, count: 24 }) });
