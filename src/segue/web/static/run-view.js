// One run, live: status and reason, what it waits for, steps, result, log.

import { api, follow } from "/assets/api.js";
import { valueForm } from "/assets/form.js";
import { logPanel } from "/assets/log-panel.js";
import { badge, copyButton, duration, ENDED, fill, h, icon, moment, sentence, toast } from "/assets/ui.js";
import { shown } from "/assets/values.js";

const MOST_STEPS = 1000;
const TRIGGERS = { manual: "by hand", api: "by the API", python: "from Python", cli: "from the command line" };

/** Shows a run in `main`. Gives a function that stops following it. `again(run)` opens its flow with its inputs, `failed(why)`
 *  says in its place why there is nothing to be shown. */
export function runView(main, id, { again, changed, failed }) {
  const parts = {
    badge: h("span", { class: "badges" }), title: h("h1", { tabindex: "-1" }, "Run"), facts: h("p", { class: "facts" }), reason: h("p", { class: "lead", "aria-live": "polite" }),
    action: h("p", { class: "help" }), buttons: h("div", { class: "actions" }), callbacks: h("section", { class: "callbacks", "aria-label": "Waiting for an answer" }),
    result: h("section", { class: "card", "aria-label": "Result", hidden: true }), inputs: h("details", { class: "card", hidden: true }),
    steps: h("ol", { class: "steps" }), more: h("p", { class: "none" }),
  };
  const log = logPanel();
  fill(main, h("header", { class: "head" }, h("div", { class: "title" }, parts.title, parts.badge), parts.reason, parts.action, parts.facts, parts.buttons),
    parts.callbacks, parts.result, h("section", { class: "card", "aria-labelledby": "steps-title" }, h("h2", { id: "steps-title" }, "Steps"), parts.steps, parts.more),
    parts.inputs, log.element);
  const view = { run: null, rows: new Map(), waiting: "", wasOver: null };
  const stop = follow(id, {
    log: log.add,
    run: (run) => draw(parts, view, run, again),
    refused: (why) => (view.run ? fill(parts.reason, sentence(why)) : failed(why)),
    end: (status) => {
      changed();
      if (view.wasOver === false) toast(status, `${view.run?.flow ?? "The run"} ${status === "succeeded" ? "succeeded" : "ended: " + status.replace("_", " ")}`);
    },
  });
  const ticking = setInterval(() => view.run && facts(parts, view.run), 1000);
  return () => {
    clearInterval(ticking);
    stop();
  };
}

function draw(parts, view, run, again) {
  view.wasOver ??= ENDED.has(run.status);
  const isNew = view.run?.status !== run.status || view.run?.reason !== run.reason;
  view.run = run;
  parts.title.textContent = run.flow;
  document.title = `${run.status}: ${run.flow} – Segue`;
  if (isNew) {
    fill(parts.badge, badge(run.status), run.recovered ? badge("recovered") : null);
    fill(parts.reason, sentence(run.reason));
    fill(parts.action, helps(run.action));
    fill(parts.buttons, buttons(run, again));
  }
  facts(parts, run);
  steps(parts, view, run);
  result(parts, run);
  if (parts.inputs.hidden && Object.keys(run.inputs).length) {
    parts.inputs.hidden = false;
    fill(parts.inputs, h("summary", {}, "Inputs"), shown(run.inputs));
  }
  callbacks(parts, view, run);
}

function facts(parts, run) {
  const took = run.started_at && !run.finished_at ? Date.now() - Date.parse(run.started_at) : run.duration_ms;
  const words = [run.id, `started ${moment(run.started_at ?? run.created_at)}`, took === null ? null : duration(Math.max(took, 0)), TRIGGERS[run.trigger] ?? `by ${run.trigger}`,
    run.version ? `version ${run.version}` : null];
  fill(parts.facts, words.filter(Boolean).map((text) => h("span", {}, text)));
}

function buttons(run, again) {
  const tell = (verb, label, kind = "quiet framed") => h("button", { type: "button", class: kind, onclick: async (event) => {
    event.currentTarget.disabled = true;
    try {
      await api("POST", `/api/v1/runs/${run.id}/${verb}`, verb === "resume" ? undefined : { reason: "by hand, on the page" });
    } catch (error) {
      toast("failed", `${label}: ${error.message}`);
      event.target.disabled = false;
    }
  } }, label);
  if (ENDED.has(run.status)) return h("button", { type: "button", class: "quiet framed", onclick: () => again(run) }, "Run again …");
  return [run.status === "paused" ? tell("resume", "Resume", "primary") : tell("pause", "Pause"), tell("cancel", "Cancel run", "quiet framed danger")];
}

function helps(action) {
  if (!action) return null;
  return ["What helps: ", action.startsWith("segue ") ? h("code", {}, action) : sentence(action)];
}

function result(parts, run) {
  const hasOutputs = run.outputs !== null && ENDED.has(run.status);
  if ((!run.error && !hasOutputs) || !parts.result.hidden) return;
  parts.result.hidden = false;
  fill(parts.result, h("h2", {}, run.error ? "What went wrong" : "Result"), run.error ? failure(run.error) : shown(run.outputs));
}

function failure(error) {
  const where = [error.step ? `step ${error.step}` : null, error.category, error.code, error.status ? `status ${error.status}` : null];
  return h("div", { class: "failure s-failed" }, icon("failed"), h("div", {}, h("p", {}, h("strong", {}, sentence(error.message))),
    h("p", { class: "help" }, where.filter(Boolean).join(" · ")), error.details ? h("details", {}, h("summary", {}, "Details"), shown(error.details)) : null));
}

// ---------------------------------------------------------------- steps

function steps(parts, view, run) {
  const ordered = byIteration(run.steps).slice(0, MOST_STEPS);
  const gone = new Set(view.rows.keys());
  ordered.forEach((step, index) => {
    gone.delete(step.id);
    if (!view.rows.has(step.id)) view.rows.set(step.id, stepRow(step.id));
    const row = view.rows.get(step.id);
    row.draw(step);
    if (parts.steps.children[index] !== row.element) parts.steps.insertBefore(row.element, parts.steps.children[index] ?? null);
  });
  for (const id of gone) {
    view.rows.get(id).element.remove();
    view.rows.delete(id);
  }
  parts.more.textContent = run.steps.length > MOST_STEPS ? `… ${run.steps.length - MOST_STEPS} more steps` : "";
}

/** The flow's order, with the steps of one iteration of a loop together. */
function byIteration(all) {
  const loops = new Map();
  const places = all.map((step) => {
    const match = /^(.*?)\[(\d+)\]/.exec(step.id);
    if (!match) return { step };
    const loop = loops.get(match[1]) ?? [];
    loops.set(match[1], loop);
    loop.push({ step, index: Number(match[2]) });
    return { loop };
  });
  for (const loop of loops.values()) loop.sort((one, two) => one.index - two.index);
  return places.map((place) => place.step ?? place.loop.shift().step);
}

function stepRow(id) {
  const depth = Math.min(id.split(/\.|\[/).length - 1, 6);
  const summary = h("summary", {});
  const detail = h("div", { class: "detail" });
  const element = h("details", { class: "step" }, summary, detail);
  element.style.setProperty("--depth", String(depth));
  const item = h("li", {}, element);
  let last = "";
  let step = null;
  element.addEventListener("toggle", () => element.open && open());
  function open() {
    fill(detail, step.reason ? h("p", {}, sentence(step.reason)) : null, step.action ? h("p", { class: "help" }, helps(step.action)) : null,
      step.error ? failure(step.error) : null, step.output !== null ? [h("h3", {}, "Output"), shown(step.output)] : null,
      h("p", { class: "facts" }, [step.kind, step.started_at ? `started ${moment(step.started_at)}` : null, step.until ? `until ${moment(step.until)}` : null]
        .filter(Boolean).map((text) => h("span", {}, text))));
  }
  return { element: item, draw: (now) => {
    step = now;
    const key = JSON.stringify([now.status, now.attempts, now.reason, now.ended_at ? now.duration_ms : null]);
    if (key === last) return;
    last = key;
    element.className = `step s-row-${now.status}`;
    fill(summary, badge(now.status, { bare: true }), h("span", { class: "name" }, now.id), h("span", { class: "why" }, (now.reason ?? "").replaceAll("`", "")),
      h("span", { class: "tries" }, now.attempts > 1 ? `try ${now.attempts}` : ""), h("span", { class: "took" }, now.ended_at ? duration(now.duration_ms) : ""));
    if (element.open) open();
  } };
}

// ---------------------------------------------------------------- callbacks

async function callbacks(parts, view, run) {
  const waiting = ENDED.has(run.status) ? "" : run.steps.filter((step) => step.reason_code === "step-waiting-callback").map((step) => `${step.id} ${step.reason}`).join("\n");
  if (waiting === view.waiting) return;
  view.waiting = waiting;
  const found = waiting ? (await api("GET", `/api/v1/runs/${run.id}/callbacks`).catch(() => ({ callbacks: [] }))).callbacks : [];
  if (view.waiting === waiting) fill(parts.callbacks, found.map(callback));
}

function callback(open) {
  const address = h("input", { type: "text", readonly: true, value: open.url, "aria-label": `Address for the answer to ${open.step}`, onfocus: (event) => event.target.select() });
  const form = valueForm(open.schema);
  const general = h("p", { class: "error", role: "alert", hidden: true });
  const send = h("button", { type: "submit", class: "primary" }, "Send");
  async function submit(event) {
    event.preventDefault();
    send.disabled = true;
    general.hidden = true;
    try {
      form.show([]);
      await api("POST", new URL(open.url).pathname, form.value() ?? null);
      toast("succeeded", `Answer to ${open.step} sent`);
    } catch (error) {
      const homeless = error.problem?.errors ? form.show(error.problem.errors) : [error.message];
      general.textContent = homeless.join("; ");
      general.hidden = !homeless.length;
      send.disabled = false;
    }
  }
  return h("div", { class: "card callback s-waiting" }, h("h2", {}, icon("waiting"), `${open.step} waits for an answer`),
    h("p", { class: "help" }, "Whoever has this address can give it.", open.expires_at ? ` It expires ${moment(open.expires_at)}.` : "",
      open.uses > 1 ? ` ${open.received} of ${open.uses} have come.` : ""),
    h("div", { class: "address" }, address, copyButton(open.url, "Copy address")),
    h("details", {}, h("summary", {}, "Send a test answer"), h("form", { novalidate: true, onsubmit: submit }, form.element, general, h("div", { class: "actions" }, send))));
}
