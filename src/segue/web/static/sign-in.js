// The pages for signing in and for setting a password: one form each, sent as JSON.

const form = document.getElementById("form");
const error = document.getElementById("error");
const owner = document.getElementById("owner");

async function send() {
  const body = Object.fromEntries([...new FormData(form)].filter(([, value]) => value !== ""));
  // The token stands behind the `#`, which no browser sends to a server and no log keeps.
  if (owner) body.token = location.hash.slice(1);
  const answer = await fetch(form.dataset.to, {
    method: "POST", credentials: "same-origin", cache: "no-store",
    headers: { accept: "application/json", "content-type": "application/json" }, body: JSON.stringify(body),
  });
  if (answer.ok) return location.replace("/");
  const problem = await answer.json().catch(() => ({}));
  tell(problem.detail ?? `the server answered with status ${answer.status}`);
  const field = form.elements.namedItem(problem.errors?.[0]?.path ?? "password");
  if (field instanceof HTMLElement) {
    field.setAttribute("aria-invalid", "true");
    field.focus();
  }
}

function tell(text) {
  error.textContent = text.charAt(0).toUpperCase() + text.slice(1) + (text.endsWith(".") ? "" : ".");
  error.hidden = false;
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  error.hidden = true;
  for (const field of form.querySelectorAll("[aria-invalid]")) field.removeAttribute("aria-invalid");
  const button = form.querySelector("button");
  button.disabled = true;
  try {
    await send();
  } catch {
    tell("the server does not answer; try again in a moment");
  }
  button.disabled = false;
});

const ways = await fetch("/api/v1/login", { headers: { accept: "application/json" } }).then((answer) => answer.json()).catch(() => null);
if (owner && ways && !ways.has_owner) {
  document.getElementById("title").textContent = "Welcome: who owns this server?";
  document.getElementById("lead").textContent = "The owner may do everything here and lets others in. This link can be used once.";
  owner.hidden = false;
  for (const field of owner.querySelectorAll("input")) field.required = true;
  owner.querySelector("input").focus();
}
const provider = document.getElementById("provider");
if (provider && ways?.provider) {
  document.getElementById("provider-link").textContent = `Sign in with ${ways.provider}`;
  provider.hidden = false;
}
document.body.dataset.ready = "true";
