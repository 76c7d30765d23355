// The side: flows of the library and recent runs, both kept fresh while the page is seen.

import { api } from "/assets/api.js";
import { ago, badge, duration, fill, h, icon } from "/assets/ui.js";

const RUNS_EVERY_MS = 2000;
const FLOWS_EVERY_MS = 10000;

export function lists({ current }) {
  const places = { flows: document.getElementById("flows"), runs: document.getElementById("runs"), find: document.getElementById("find") };
  const known = { flows: null, runs: null, off: null };
  let busy = false;
  let flowsAt = 0;

  function drawFlows() {
    const wanted = places.find.value.trim().toLowerCase();
    const found = (known.flows ?? []).filter((flow) => `${flow.name} ${flow.id} ${flow.description ?? ""}`.toLowerCase().includes(wanted));
    update(places.flows, found.map((flow) => {
      const errors = flow.problems.filter((problem) => problem.severity === "error").length;
      return [`#/flows/${encodeURIComponent(flow.id)}`, `${flow.name} ${errors}`, () => [h("span", { class: "name" }, flow.name),
        errors ? h("span", { class: "badge s-failed" }, icon("failed"), errors === 1 ? "1 error" : `${errors} errors`) : null]];
    }), known.flows?.length ? "No flow has that name." : "No flows here yet. Put a .yaml file into the folder that the server serves, or store one.");
  }

  function drawRuns() {
    update(places.runs, (known.runs ?? []).map((run) => [`#/runs/${run.id}`, `${run.status} ${ago(run.created_at)}`, () => [badge(run.status, { bare: true }),
      h("span", { class: "name" }, run.flow), h("span", { class: "when", title: run.created_at }, run.finished_at ? `${ago(run.created_at)} · ${duration(run.duration_ms)}` : ago(run.created_at))]]),
    "No runs yet.");
  }

  function update(list, rows, empty) {
    const old = new Map([...list.querySelectorAll("a")].map((link) => [link.getAttribute("href"), link]));
    const items = rows.map(([href, key, content]) => {
      const link = old.get(href) ?? h("a", { href });
      if (link.dataset.key !== key) {
        fill(link, content());
        link.dataset.key = key;
      }
      if (href === current()) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
      return link.parentElement ?? h("li", {}, link);
    });
    if (!items.length) fill(list, h("li", { class: "none" }, empty));
    else if (items.length !== list.children.length || items.some((item, index) => list.children[index] !== item)) {
      const focused = document.activeElement;
      fill(list, items);
      if (list.contains(focused)) focused.focus();
    }
  }

  async function refresh() {
    if (busy || document.hidden) return;
    busy = true;
    try {
      if (!known.flows || Date.now() - flowsAt > FLOWS_EVERY_MS) {
        known.flows = (await api("GET", "/api/v1/flows?limit=200")).flows;
        flowsAt = Date.now();
      }
      known.runs = (await api("GET", "/api/v1/runs?limit=15")).runs;
      drawFlows();
      drawRuns();
      known.off = null;
    } catch (error) {
      // The top bar says that the server does not answer; the lists keep what they show.
      if (error.problem?.type === "urn:segue:problem:feature-off") known.off = error.message;
    } finally {
      busy = false;
    }
  }

  places.find.addEventListener("input", drawFlows);
  document.addEventListener("visibilitychange", refresh);
  setInterval(refresh, RUNS_EVERY_MS);
  return { refresh, mark: () => { drawFlows(); drawRuns(); }, first: () => known.flows?.[0]?.id, off: () => known.off };
}
