// A flow of the library: what it is, what is wrong with it, and the form that starts it.

import { api, ProblemError } from "/assets/api.js";
import { schemaForm } from "/assets/form.js";
import { fill, h, icon, toast } from "/assets/ui.js";

/** Shows a flow in `main`. `initial`: inputs to begin with. */
export async function flowView(main, id, initial = {}) {
  const flow = await api("GET", `/api/v1/flows/${encodeURIComponent(id)}`);
  const errors = flow.problems.filter((problem) => problem.severity === "error");
  const blocked = whyNot(flow, errors.length);
  const form = schemaForm(flow.inputs, initial);
  const general = h("div", { class: "notice s-failed", role: "alert", hidden: true });
  const run = h("button", { type: "submit", class: "primary", disabled: blocked !== null, "aria-describedby": blocked ? "blocked" : null },
    h("span", { class: "spinner", "aria-hidden": "true" }), "Run");
  const body = h("form", { novalidate: true, onsubmit: (event) => {
    event.preventDefault();
    start(flow, form, run, general, problems);
  } }, h("h2", {}, "Inputs"), form.isEmpty ? h("p", { class: "none" }, "This flow takes no inputs.") : form.element, general,
  h("div", { class: "actions" }, run, blocked
    ? h("p", { id: "blocked", class: "blocked" }, blocked)
    : h("p", { class: "help" }, `${flow.steps} ${flow.steps === 1 ? "step" : "steps"}`)));
  const problems = h("div", {});
  fill(problems, problemList(flow.problems));
  fill(main, h("header", { class: "head" }, h("h1", { tabindex: "-1" }, flow.name),
    flow.description ? h("p", { class: "lead" }, flow.description) : null,
    h("p", { class: "facts" }, h("span", {}, flow.file ?? (flow.version ? `version ${flow.version}` : "draft")), flow.name === flow.id ? null : h("span", {}, flow.id))),
  problems, h("section", { class: "card" }, body), source(flow));
  document.title = `${flow.name} – Segue`;
}

/** Why the flow cannot run, or null: a folder's file must have no errors, a stored flow a published version. */
function whyNot(flow, errors) {
  if (flow.origin === "stored") return flow.version ? null : "Cannot run yet: no version of it is published.";
  return errors ? `Cannot run yet: ${errors === 1 ? "one error is" : `${errors} errors are`} to be mended in ${flow.file}.` : null;
}

async function start(flow, form, button, general, problems) {
  general.hidden = true;
  button.disabled = true;
  button.classList.add("busy");
  button.setAttribute("aria-busy", "true");
  try {
    form.show([]);
    const started = await api("POST", "/api/v1/runs", { flow_id: flow.id, inputs: form.value(), idempotency_key: crypto.randomUUID() });
    toast("running", `${flow.name} started`);
    location.hash = `#/runs/${started.run_id}`;
  } catch (error) {
    const homeless = error instanceof ProblemError && error.problem.errors ? form.show(error.problem.errors) : [error.message];
    if (error instanceof ProblemError && error.problem.problems) fill(problems, problemList(error.problem.problems));
    if (homeless.length) {
      fill(general, icon("failed"), h("span", {}, homeless.join("; ")));
      general.hidden = false;
    }
    button.disabled = false;
  } finally {
    button.classList.remove("busy");
    button.removeAttribute("aria-busy");
  }
}

const LOOKS = { error: "failed", warning: "recovered", note: "queued" };

function problemList(problems) {
  if (!problems.length) return null;
  return h("section", { class: "card problems", "aria-label": "Problems" }, h("h2", {}, "Problems"), h("ul", {}, problems.map((problem) =>
    h("li", { class: `s-${LOOKS[problem.severity]}` }, icon(LOOKS[problem.severity]), h("div", {},
      h("p", {}, h("strong", {}, problem.message), problem.suggestion ? ` – ${problem.suggestion}` : null),
      h("p", { class: "help" }, [problem.severity, problem.code, problem.line ? `line ${problem.line}, column ${problem.column}` : problem.path].filter(Boolean).join(" · ")))))));
}

function source(flow) {
  if (!flow.source) return null;
  return h("details", { class: "card source" }, h("summary", {}, "The flow as written"), h("pre", { tabindex: "0" }, flow.source));
}
