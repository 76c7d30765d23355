// Speaking to the server. Every error is a problem document (RFC 9457); no answer at all is told in the top bar.

export class ProblemError extends Error {
  constructor(status, problem) {
    super(problem.detail ?? problem.title ?? `status ${status}`);
    this.status = status;
    this.problem = problem;
  }
}

export class OfflineError extends Error {}

let wasOffline = false;

/** Shows whether the server answers. */
export function connection(isUp) {
  const place = document.getElementById("link");
  if (isUp === !wasOffline && place.textContent !== "") return;
  wasOffline = !isUp;
  place.textContent = isUp ? "Connected" : "The server stopped or cannot be reached; trying again …";
  place.className = isUp ? "link up" : "link down";
}

export async function api(method, path, body) {
  const options = { method, headers: { accept: "application/json" }, credentials: "same-origin", cache: "no-store" };
  if (body !== undefined) {
    options.headers["content-type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    connection(false);
    throw new OfflineError("the server does not answer");
  }
  connection(true);
  // The session is gone (the server was started anew): its page says how to get in.
  if (answer.status === 401) location.assign("/");
  const text = await answer.text();
  let value = null;
  try {
    value = text ? JSON.parse(text) : null;
  } catch {
    throw new ProblemError(answer.status, { detail: "the server answered with something that is not JSON" });
  }
  if (!answer.ok) throw new ProblemError(answer.status, value ?? {});
  return value;
}

const GONE = new Set([403, 404, 410]);

/** Follows a run. `on.log(line)`, `on.run(view)`, `on.end(status)`, `on.refused(why)`. Gives a function that stops following. */
export function follow(id, on) {
  const path = `/api/v1/runs/${encodeURIComponent(id)}`;
  let source = null;
  let retry = null;
  let stopped = false;
  const seen = new Set();
  const later = () => {
    if (!stopped) retry = setTimeout(ask, 1000);
  };
  // Why a stream was refused its reader is not told, so the run itself is asked for.
  const ask = () => api("GET", path).then(open, (error) => {
    if (GONE.has(error.status)) on.refused(error.message);
    else later();
  });
  function open() {
    if (stopped) return;
    source = new EventSource(`${path}/events`);
    source.onopen = () => connection(true);
    source.addEventListener("log", (event) => {
      // A stream that is opened anew begins with the first line again.
      if (!seen.has(event.lastEventId)) on.log(JSON.parse(event.data));
      seen.add(event.lastEventId);
    });
    source.addEventListener("run", (event) => on.run(JSON.parse(event.data)));
    source.addEventListener("end", (event) => {
      source.close();
      on.end(JSON.parse(event.data).status);
    });
    source.addEventListener("refused", (event) => {
      // The session is over, or the run may be watched no more.
      source.close();
      const problem = JSON.parse(event.data);
      if (problem.status === 401) location.assign("/");
      else on.refused(problem.detail);
    });
    source.onerror = () => {
      // The browser asks again by itself with the last id, unless it was refused.
      if (source.readyState === EventSource.CLOSED) later();
      else connection(false);
    };
  }
  open();
  return () => {
    stopped = true;
    clearTimeout(retry);
    source.close();
  };
}
