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

/** Follows a run. `on.log(line)`, `on.run(view)`, `on.end(status)`, `on.refused(why)`. Gives a function that stops following. */
export function follow(id, on) {
  const source = new EventSource(`/api/v1/runs/${encodeURIComponent(id)}/events`);
  source.onopen = () => connection(true);
  source.addEventListener("log", (event) => on.log(JSON.parse(event.data)));
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
    // The browser asks again by itself with the last id, unless the server said that there is nothing to ask for.
    connection(false);
    if (source.readyState === EventSource.CLOSED) retry = setTimeout(() => api("GET", `/api/v1/runs/${encodeURIComponent(id)}`).then(on.run, () => {}), 1000);
  };
  let retry = null;
  return () => {
    clearTimeout(retry);
    source.close();
  };
}
