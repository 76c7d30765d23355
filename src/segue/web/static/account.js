// Who is signed in, in which workspace; and signing out.

import { api, ProblemError } from "/assets/api.js";
import { toast } from "/assets/ui.js";

const who = document.getElementById("who");

async function leave(button, method, path) {
  button.disabled = true;
  try {
    await api(method, path);
    location.assign("/");
  } catch (error) {
    button.disabled = false;
    toast("failed", `You are still signed in: ${error.message}`);
  }
}

function close() {
  if (!who.open) return;
  who.open = false;
}

/** Fills the menu in the top bar, and shows it. */
export async function account() {
  const me = await api("GET", "/api/v1/me");
  const { workspaces } = await api("GET", "/api/v1/workspaces");
  document.getElementById("who-name").textContent = me.name;
  document.getElementById("who-full").textContent = me.kind === "server" ? "whoever opened the printed address" : me.name;
  document.getElementById("who-workspace").textContent = workspaces.find((one) => one.id === me.workspace)?.name ?? me.workspace;
  const everywhere = document.getElementById("sign-out-everywhere");
  everywhere.hidden = me.kind !== "user";
  everywhere.addEventListener("click", () => leave(everywhere, "DELETE", "/api/v1/sessions"));
  const here = document.getElementById("sign-out");
  here.addEventListener("click", () => leave(here, "POST", "/api/v1/logout"));
  who.hidden = false;
}

who.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  close();
  who.querySelector("summary").focus();
});
document.addEventListener("click", (event) => who.contains(event.target) || close());
who.addEventListener("focusout", (event) => event.relatedTarget && !who.contains(event.relatedTarget) && close());

/** The menu is no reason for the page not to come: without it everything else works. */
export function showAccount() {
  account().catch((error) => error instanceof ProblemError && toast("failed", `Who is signed in cannot be shown: ${error.message}`));
}
