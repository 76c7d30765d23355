// The log of a run: lines as they come, with a filter by level. Follows the end until one scrolls up.

import { clock, h } from "/assets/ui.js";

const LEVELS = ["debug", "info", "warning", "error"];
const MOST_LINES = 2000;

export function logPanel() {
  const list = h("ol", { class: "log", tabindex: "0", "aria-label": "Log lines", "data-least": "info" });
  const count = h("span", { class: "help" });
  let dropped = 0;
  const select = h("select", { id: "log-level", onchange: () => { list.dataset.least = select.value; } },
    [["debug", "Everything"], ["info", "Info and graver"], ["warning", "Warnings and errors"], ["error", "Errors"]].map(([level, name]) => h("option", { value: level, selected: level === "info" }, name)));
  function add(line) {
    const isAtEnd = list.scrollTop + list.clientHeight >= list.scrollHeight - 8;
    const data = line.data && Object.keys(line.data).length
      ? h("span", { class: "data" }, Object.entries(line.data).map(([name, value]) => `${name}=${typeof value === "object" ? JSON.stringify(value) : value}`).join("  ")) : null;
    list.append(h("li", { class: `l-${LEVELS.includes(line.level) ? line.level : "info"}` }, h("time", { datetime: line.ts }, clock(line.ts)),
      h("span", { class: "level" }, line.level), h("span", { class: "text" }, line.step && !line.msg.startsWith(line.step) ? h("b", {}, `${line.step} `) : null, line.msg, data)));
    while (list.children.length > MOST_LINES) {
      list.firstElementChild.remove();
      dropped += 1;
    }
    count.textContent = dropped ? `the last ${MOST_LINES} lines` : "";
    if (isAtEnd) list.scrollTop = list.scrollHeight;
  }
  const element = h("section", { class: "card", "aria-labelledby": "log-title" },
    h("div", { class: "bar" }, h("h2", { id: "log-title" }, "Log"), count, h("label", { for: "log-level", class: "visually-hidden" }, "Lines shown"), select), list);
  return { element, add };
}
