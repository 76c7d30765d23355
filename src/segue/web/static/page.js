// The page: an address after `#` is a view. `#/flows/ID` and `#/runs/ID` can be linked to.

import { showAccount } from "/assets/account.js";
import { OfflineError } from "/assets/api.js";
import { flowView } from "/assets/flow-view.js";
import { lists } from "/assets/lists.js";
import { runView } from "/assets/run-view.js";
import { fill, h, icon } from "/assets/ui.js";

const main = document.getElementById("main");
const menu = document.getElementById("menu");
const side = lists({ current: () => location.hash });
let leave = () => {};
let begin = null;

async function show(moveFocus) {
  leave();
  leave = () => {};
  const [, kind, ...rest] = location.hash.split("/");
  const id = decodeURIComponent(rest.join("/"));
  document.body.classList.remove("side-open");
  menu.setAttribute("aria-expanded", "false");
  side.mark();
  try {
    if (side.off()) switchedOff(side.off());
    else if (kind === "runs" && id) leave = runView(main, id, { again, changed: side.refresh, failed: cannotBeShown });
    else if (kind === "flows" && id) {
      const initial = begin?.flow === id ? begin.inputs : {};
      begin = null;
      await flowView(main, id, initial);
    } else if (side.first()) {
      history.replaceState(null, "", `#/flows/${encodeURIComponent(side.first())}`);
      return show(moveFocus);
    } else welcome();
  } catch (error) {
    cannotBeShown(error.message, error instanceof OfflineError ? "The server does not answer" : undefined);
  }
  if (moveFocus) main.querySelector("h1")?.focus();
  side.refresh();
}

function cannotBeShown(why, title = "This cannot be shown") {
  document.title = `Segue: ${title}`;
  fill(main, h("header", { class: "head" }, h("h1", { tabindex: "-1" }, title)),
    h("p", { class: "notice s-failed", role: "alert" }, icon("failed"), h("span", {}, why)),
    h("p", {}, h("button", { type: "button", class: "quiet framed", onclick: () => show(true) }, "Try again")));
}

function again(run) {
  begin = { flow: run.flow, inputs: run.inputs };
  location.hash = `#/flows/${encodeURIComponent(run.flow)}`;
}

function switchedOff(why) {
  document.title = "Segue: switched off";
  fill(main, h("header", { class: "head" }, h("h1", { tabindex: "-1" }, "Flows are switched off")),
    h("p", { class: "notice", role: "status" }, h("span", {}, why)),
    h("p", {}, h("button", { type: "button", class: "quiet framed", onclick: () => side.refresh().then(() => show(true)) }, "Try again")));
}

function welcome() {
  document.title = "Segue";
  fill(main, h("header", { class: "head" }, h("h1", { tabindex: "-1" }, "No flows yet"),
    h("p", { class: "lead" }, "Put a flow (a .yaml or .json file) into the folder that the server serves. It appears here by itself.")),
  h("pre", { class: "card", tabindex: "0" }, "flow: hello\ninputs: {name: string}\nsteps:\n  - greet: {log: \"Hello {{ inputs.name }}\"}\n"));
}

menu.addEventListener("click", () => {
  const isOpen = document.body.classList.toggle("side-open");
  menu.setAttribute("aria-expanded", String(isOpen));
});
window.addEventListener("hashchange", () => show(true));
showAccount();
await side.refresh();
await show(false);
document.body.dataset.ready = "true";
