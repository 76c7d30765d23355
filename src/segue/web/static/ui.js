// Small tools for all views: making elements (text is always text, never markup), icons, words for times, toasts.

/** An element. `attributes`: `class`, `on<event>` functions, booleans and plain values; null and false are left out. */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** A sentence of the server, with what stands in backticks as code. */
export function sentence(text) {
  return (text ?? "").split("`").map((part, index) => (index % 2 ? h("code", {}, part) : part));
}

/** Puts `children` in the place of all that is in `parent`. */
export function fill(parent, ...children) {
  parent.replaceChildren(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return parent;
}

const ICONS = {
  queued: "M8 1.800v2M8 12.200v2M1.800 8h2M12.200 8h2M3.600 3.600l1.400 1.400M11 11l1.400 1.400M12.400 3.600L11 5M5 11l-1.400 1.400",
  running: "M8 1.800a6.200 6.200 0 1 1-5.400 3.100",
  waiting: "M4.500 2h7M4.500 14h7M5 2v2.500L8 8l3-3.500V2M5 14v-2.500L8 8l3 3.500V14",
  paused: "M5.500 3.500v9M10.500 3.500v9",
  retrying: "M13 8a5 5 0 1 1-1.500-3.600M13 2v3h-3",
  succeeded: "M3 8.500l3.300 3.300L13 4.800",
  recovered: "M8 2.500l6 10.700H2zM8 6.500v3M8 11.300v.2",
  failed: "M4 4l8 8M12 4l-8 8",
  cancelled: "M8 1.900a6.100 6.100 0 1 1 0 12.200A6.100 6.100 0 0 1 8 1.900M3.800 3.800l8.400 8.400",
  timed_out: "M8 1.900a6.100 6.100 0 1 1 0 12.200A6.100 6.100 0 0 1 8 1.900M8 4.500V8l2.500 1.700",
  skipped: "M3.500 3.500L8 8l-4.500 4.500M8 3.500L12.500 8 8 12.500",
};
const LOOKS = {
  pending: "queued", ready: "queued", unknown_outcome: "recovered", quarantined: "recovered",
};
const WORDS = { timed_out: "timed out", unknown_outcome: "outcome unknown" };

export const ENDED = new Set(["succeeded", "failed", "cancelled", "timed_out", "quarantined"]);

export function word(status) {
  return WORDS[status] ?? status;
}

export function icon(status) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("aria-hidden", "true");
  svg.classList.add("icon");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", ICONS[LOOKS[status] ?? status] ?? ICONS.queued);
  svg.append(path);
  return svg;
}

/** Icon, word and colour; `bare` leaves the word to screen readers. */
export function badge(status, { bare = false } = {}) {
  const look = LOOKS[status] ?? status;
  return h("span", { class: `badge s-${look}${bare ? " bare" : ""}`, title: bare ? word(status) : null }, icon(status),
    h("span", { class: bare ? "visually-hidden" : null }, word(status)));
}

export function duration(ms) {
  if (ms === null || ms === undefined) return "";
  if (ms < 1000) return `${Math.round(ms)} ms`;
  const seconds = ms / 1000;
  if (seconds < 60) return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
  const units = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
  const first = units.findIndex(([, size]) => seconds >= size);
  const [large, size] = units[first];
  const [small, rest] = units[Math.min(first + 1, 3)];
  const count = Math.floor(seconds / size);
  const more = Math.floor((seconds - count * size) / rest);
  return more && first < 3 ? `${count} ${large} ${more} ${small}` : `${count} ${large}`;
}

export function ago(text) {
  const seconds = (Date.now() - Date.parse(text)) / 1000;
  if (seconds < 5) return "now";
  if (seconds < 60) return `${Math.floor(seconds)} s ago`;
  return `${duration(Math.floor(seconds) * 1000).split(" ").slice(0, 2).join(" ")} ago`;
}

export function moment(text) {
  return text ? new Date(text).toLocaleString([], { dateStyle: "medium", timeStyle: "medium" }) : "";
}

export function clock(text) {
  return new Date(text).toLocaleTimeString([], { hour12: false });
}

/** A message at the edge of the page. Errors stay until they are closed. */
export function toast(kind, text, link = null) {
  const close = h("button", { class: "quiet icon-only", "aria-label": "Close", onclick: () => box.remove() }, icon("failed"));
  const box = h("div", { class: `toast s-${kind}`, role: kind === "failed" ? "alert" : "status" }, icon(kind),
    h("span", {}, text, link ? h("a", { href: link }, "Show") : null), close);
  const area = document.getElementById("toasts");
  area.append(box);
  while (area.children.length > 3) area.firstElementChild.remove();
  if (kind !== "failed") setTimeout(() => box.remove(), 6000);
}

/** A button that copies a text and says so. */
export function copyButton(text, label = "Copy") {
  const button = h("button", { type: "button", class: "quiet", onclick: async () => {
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Select and copy by hand";
    }
    setTimeout(() => { button.textContent = label; }, 2000);
  } }, label);
  return button;
}
