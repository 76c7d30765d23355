// Showing any JSON value to a person: names and values, lists and tables; the JSON itself only on demand.

import { copyButton, h } from "/assets/ui.js";

const MOST_ITEMS = 100;
const MOST_LEVELS = 8;
const MOST_COLUMNS = 6;

/** A value with a switch to its JSON. */
export function shown(value) {
  const box = h("div", { class: "value" });
  const json = JSON.stringify(value, null, 2) ?? "null";
  let asJson = false;
  const toggle = h("button", { type: "button", class: "quiet", "aria-pressed": "false", onclick: () => {
    asJson = !asJson;
    draw();
  } }, "JSON");
  function draw() {
    toggle.setAttribute("aria-pressed", String(asJson));
    box.replaceChildren(
      asJson ? h("pre", { tabindex: "0" }, json.length > 200000 ? `${json.slice(0, 200000)}\n…` : json) : view(value, 0),
      h("div", { class: "value-tools" }, toggle, copyButton(json)),
    );
  }
  draw();
  return box;
}

function view(value, level) {
  if (value === null || value === undefined) return h("span", { class: "none" }, "nothing");
  if (typeof value === "boolean") return h("span", {}, value ? "yes" : "no");
  if (typeof value === "number") return h("span", { class: "number" }, String(value));
  if (typeof value === "string") return text(value);
  if (level >= MOST_LEVELS) return h("span", { class: "none" }, "… more within");
  if (Array.isArray(value)) return list(value, level);
  const entries = Object.entries(value);
  if (!entries.length) return h("span", { class: "none" }, "empty");
  return h("dl", { class: "pairs" }, entries.slice(0, MOST_ITEMS).map(([name, one]) =>
    h("div", {}, h("dt", {}, name), h("dd", {}, view(one, level + 1)))), rest(entries.length));
}

function text(value) {
  if (value === "***") return h("span", { class: "hidden-value", title: "A secret: never shown" }, "hidden");
  if (value === "") return h("span", { class: "none" }, "empty text");
  return h("span", { class: "text" }, value.length > 5000 ? `${value.slice(0, 5000)} …` : value);
}

function list(items, level) {
  if (!items.length) return h("span", { class: "none" }, "no items");
  const first = items.slice(0, MOST_ITEMS);
  const columns = columnsOf(first);
  if (columns) {
    return h("div", { class: "scroll", tabindex: "0" }, h("table", {},
      h("thead", {}, h("tr", {}, columns.map((name) => h("th", { scope: "col" }, name)))),
      h("tbody", {}, first.map((item) => h("tr", {}, columns.map((name) => h("td", {}, view(item[name], level + 1))))))),
    rest(items.length));
  }
  return h("ol", { class: "items", start: "0" }, first.map((item) => h("li", {}, view(item, level + 1))), rest(items.length));
}

/** The common columns of a list of flat maps, or null. */
function columnsOf(items) {
  if (items.length < 2 || !items.every((item) => item && typeof item === "object" && !Array.isArray(item))) return null;
  const columns = [...new Set(items.flatMap((item) => Object.keys(item)))];
  const flat = items.every((item) => Object.values(item).every((one) => one === null || typeof one !== "object"));
  return flat && columns.length && columns.length <= MOST_COLUMNS ? columns : null;
}

function rest(count) {
  return count > MOST_ITEMS ? h("p", { class: "none" }, `… ${count - MOST_ITEMS} more`) : null;
}
