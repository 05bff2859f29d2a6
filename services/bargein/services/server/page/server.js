// Requests to the agent's server, with the token that the page was opened with.

// The parameters of the page's address, but for the token, are the session's: `Peer.params` in the agent's code.
const { token, ...parameters } = Object.fromEntries(new URLSearchParams(location.search));
export { parameters };

export class ServerError extends Error {
  // `status` is the answer's HTTP status, or 0 when the server could not be reached.
  constructor(message, status = 0) {
    super(message);
    this.status = status;
  }
}

export function refusal(message) {
  // Why a session does not begin, by the agent's message in place of `ready`.
  return new ServerError(message.reason || message.message || "The agent did not begin.", 503);
}

const ANSWER_MS = 15000; // how long an answer may take

export function within(signal, ms, reason = new ServerError("The server does not answer.")) {
  // A signal that is aborted with `signal`, and with `reason` after `ms`; `done()` ends the wait.
  const both = new AbortController();
  const timer = setTimeout(() => both.abort(reason), ms);
  const abort = () => both.abort(signal.reason);
  if (signal?.aborted) abort();
  signal?.addEventListener("abort", abort);
  both.signal.done = () => {
    clearTimeout(timer);
    signal?.removeEventListener("abort", abort);
  };
  return both.signal;
}

export async function ask(path, { headers = {}, signal, ms = ANSWER_MS, ...options } = {}) {
  // Throws `ServerError` when there is no answer, and the signal's reason when it is aborted.
  const limit = within(signal, ms);
  const known = token ? { ...headers, authorization: `Bearer ${token}` } : headers;
  try {
    return await fetch(path, { ...options, headers: known, signal: limit });
  } catch {
    throw limit.aborted ? limit.reason : new ServerError("The server does not answer.");
  } finally {
    limit.done();
  }
}

export async function askJson(path, options) {
  const answer = await ask(path, options);
  if (!answer.ok) throw new ServerError(await reason(answer), answer.status);
  return answer.json();
}

async function reason(answer) {
  const text = await answer.text();
  try {
    return JSON.parse(text).error ?? text;
  } catch {
    return text || `The server answered with status ${answer.status}.`;
  }
}

export async function alive(ms = 2000) {
  // "yes" when the server answers, "no" when nothing listens there, "slow" when it takes longer than `ms`.
  const slow = new Error("slow");
  try {
    await ask("healthz", { signal: within(null, ms, slow), cache: "no-store" });
    return "yes";
  } catch (error) {
    return error === slow ? "slow" : "no";
  }
}

export function socketAddress() {
  const address = new URL("ws", document.baseURI);
  address.protocol = address.protocol.replace("http", "ws");
  if (token) address.searchParams.set("token", token);
  return address;
}

export function pause(ms) {
  return new Promise((done) => setTimeout(done, ms));
}
