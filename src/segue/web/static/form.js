// A form made from a JSON Schema (draft 2020-12). Nobody writes JSON: every kind of value has controls of its own.

import { h, icon } from "/assets/ui.js";

let counter = 0;

/** A form for an object's properties. `value()` gives the object; `show(errors)` puts messages at their fields. */
export function schemaForm(schema, initial = {}) {
  const fields = new Map();
  const root = objectField(resolve(schema, schema), "", initial, { schema, fields });
  return {
    element: root.element,
    isEmpty: root.isEmpty,
    value: () => root.value() ?? {},
    show: (errors) => show(fields, errors),
  };
}

/** Any one value by its schema, for a callback's answer. */
export function valueForm(schema) {
  const fields = new Map();
  const whole = resolve(schema ?? {}, schema ?? {});
  const field = control(whole, "", undefined, { schema: schema ?? {}, fields, label: "Answer", required: true });
  return { element: field.element, value: field.value, show: (errors) => show(fields, errors) };
}

/** Gives the messages that belong to no field; focuses the first field that has one. */
function show(fields, errors) {
  for (const field of fields.values()) field.setError("");
  const homeless = [];
  let first = null;
  for (const { path, message } of errors) {
    let at = path;
    while (at && !fields.has(at)) at = at.slice(0, Math.max(at.lastIndexOf("."), 0));
    const field = fields.get(at);
    if (!field || (at !== path && field.isGroup && !at)) homeless.push(path ? `${path}: ${message}` : message);
    else {
      field.setError(message);
      first ??= field;
    }
  }
  first?.focus();
  return homeless;
}

/** The schema behind local references, `allOf` of one and nullable unions. */
function resolve(schema, root, depth = 0) {
  if (schema === true || schema === undefined || depth > 10) return {};
  if (schema.$ref?.startsWith("#/")) {
    const found = schema.$ref.slice(2).split("/").reduce((at, key) => at?.[key.replaceAll("~1", "/").replaceAll("~0", "~")], root);
    return resolve({ ...found, ...schema, $ref: undefined }, root, depth + 1);
  }
  const union = (schema.anyOf ?? schema.oneOf)?.filter((one) => one.type !== "null");
  if (union?.length === 1) return resolve({ ...union[0], ...schema, anyOf: undefined, oneOf: undefined }, root, depth + 1);
  if (union?.every((one) => "const" in one)) return { ...schema, anyOf: undefined, oneOf: undefined, enum: union.map((one) => one.const), titles: union.map((one) => one.title) };
  if (schema.allOf?.length === 1) return resolve({ ...schema.allOf[0], ...schema, allOf: undefined }, root, depth + 1);
  return schema;
}

function kindOf(schema) {
  if (Array.isArray(schema.enum)) return "choice";
  const types = [schema.type ?? []].flat().filter((type) => type !== "null");
  if (types.length === 1) return types[0] === "integer" ? "number" : types[0];
  if (types.length === 2 && types.includes("integer") && types.includes("number")) return "number";
  if (schema.properties) return "object";
  return "any";
}

/** One value: label, control, help, error. Gives {element, value, setError, focus}. */
function control(schema, path, initial, context) {
  schema = resolve(schema, context.schema);
  const kind = kindOf(schema);
  const start = initial === undefined || initial === "***" ? schema.default : initial;
  if (kind === "object" && schema.properties) return objectField(schema, path, start ?? {}, context);
  if (kind === "object") return mapField(schema, path, start ?? {}, context);
  if (kind === "array") return listField(schema, path, start ?? [], context);
  if (kind === "any") return anyField(schema, path, start, context);
  return simpleField(schema, kind, path, start, context);
}

function simpleField(schema, kind, path, start, context) {
  const made = { choice, boolean: check, number, string: text }[kind](schema, start, context.required);
  return labelled(schema, path, made, context);
}

function labelled(schema, path, made, context) {
  const id = `f${++counter}`;
  const help = schema.description ? h("p", { class: "help", id: `${id}-help` }, schema.description) : null;
  const error = h("p", { class: "error", id: `${id}-error`, hidden: true });
  made.input.id = id;
  made.input.setAttribute("aria-describedby", `${help ? `${id}-help ` : ""}${id}-error`);
  if (context.required && kindOf(schema) !== "boolean") made.input.setAttribute("aria-required", "true");
  const label = h("label", { for: id }, context.label, mark(context, schema));
  const inner = kindOf(schema) === "boolean" ? h("div", { class: "check" }, made.input, label) : [label, made.input];
  const element = h("div", { class: "field" }, inner, help, error);
  const field = {
    element,
    value: made.value,
    focus: () => made.input.focus(),
    setError: (message) => {
      error.textContent = message;
      error.hidden = !message;
      if (message) made.input.setAttribute("aria-invalid", "true");
      else made.input.removeAttribute("aria-invalid");
    },
  };
  made.input.addEventListener("input", () => field.setError(""));
  context.fields.set(path, field);
  return field;
}

function mark(context, schema) {
  if (context.required && kindOf(schema) !== "boolean") return h("span", { class: "required", title: "Required" }, "*");
  return null;
}

function text(schema, start) {
  const types = { email: "email", date: "date", "date-time": "datetime-local", time: "time", uri: "url", password: "password" };
  const type = schema.writeOnly ? "password" : types[schema.format] ?? "text";
  const isLong = type === "text" && (schema.maxLength > 200 || schema.format === "multiline" || String(start ?? "").includes("\n"));
  const input = h(isLong ? "textarea" : "input", {
    type: isLong ? null : type, rows: isLong ? 4 : null, maxlength: schema.maxLength, placeholder: schema.examples?.[0],
    autocomplete: type === "password" ? "new-password" : "off", step: type === "time" || type === "datetime-local" ? "1" : null,
  });
  input.value = type === "datetime-local" ? localTime(start) : start ?? "";
  return { input, value: () => {
    if (input.value === "") return undefined;
    if (type === "datetime-local") return new Date(input.value).toISOString();
    return type === "time" ? `${input.value.length === 5 ? `${input.value}:00` : input.value}Z` : input.value;
  } };
}

function localTime(value) {
  const at = value ? new Date(value) : null;
  if (!at || Number.isNaN(at.getTime())) return "";
  return new Date(at.getTime() - at.getTimezoneOffset() * 60000).toISOString().slice(0, 19);
}

function number(schema, start) {
  const input = h("input", { type: "number", inputmode: schema.type === "integer" ? "numeric" : "decimal",
    step: schema.multipleOf ?? (schema.type === "integer" ? 1 : "any"), min: schema.minimum, max: schema.maximum });
  input.value = start ?? "";
  // What is typed and is no number goes to the server as text, which says what is wrong with it.
  return { input, value: () => (input.value === "" ? (input.validity.badInput ? "not a number" : undefined) : Number(input.value)) };
}

function check(schema, start, required) {
  const input = h("input", { type: "checkbox" });
  input.checked = start === true;
  let isTouched = required || start !== undefined;
  input.addEventListener("change", () => { isTouched = true; });
  return { input, value: () => (isTouched ? input.checked : undefined) };
}

function choice(schema, start, required) {
  const isOpen = !required || start === undefined;
  const input = h("select", {}, isOpen ? h("option", { value: "" }, required ? "Choose …" : "–") : null,
    schema.enum.map((one, index) => h("option", { value: index }, schema.titles?.[index] ?? String(one))));
  const at = schema.enum.findIndex((one) => one === start);
  input.value = at < 0 ? "" : String(at);
  return { input, value: () => (input.value === "" ? undefined : schema.enum[Number(input.value)]) };
}

function group(schema, path, context, children) {
  const error = h("p", { class: "error", hidden: true, role: "alert" });
  const help = schema.description ? h("p", { class: "help" }, schema.description) : null;
  const element = path || context.label
    ? h("fieldset", {}, h("legend", {}, context.label, mark(context, schema)), help, children, error)
    : h("div", { class: "fields" }, children, error);
  const field = { element, isGroup: true, setError: (message) => {
    error.textContent = message;
    error.hidden = !message;
  }, focus: () => element.querySelector("input, select, textarea, button")?.focus() };
  context.fields.set(path, field);
  return field;
}

function objectField(schema, path, initial, context) {
  const required = new Set(schema.required ?? []);
  const parts = Object.entries(schema.properties ?? {}).map(([name, property]) => {
    const inner = { ...context, label: property?.title ?? name, required: required.has(name) };
    return [name, control(property, join(path, name), initial?.[name], inner)];
  });
  const field = group(schema, path, context, parts.map(([, part]) => part.element));
  return { ...field, isEmpty: parts.length === 0, value: () => {
    const entries = parts.map(([name, part]) => [name, part.value()]).filter(([, value]) => value !== undefined);
    return entries.length || context.required || !path ? Object.fromEntries(entries) : undefined;
  } };
}

/** Rows that can be added and removed. `make(index, start)` gives {element, value}. */
function rows(starts, make, addLabel) {
  const list = h("div", { class: "rows" });
  let parts = [];
  function add(start, isFirst) {
    const part = make(parts.length, start);
    const row = h("div", { class: "row" }, part.element, h("button", { type: "button", class: "quiet icon-only", "aria-label": "Remove", onclick: () => {
      parts = parts.filter((one) => one !== part);
      row.remove();
      button.focus();
    } }, icon("failed")));
    parts.push(part);
    list.append(row);
    if (!isFirst) row.querySelector("input, select, textarea")?.focus();
  }
  const button = h("button", { type: "button", class: "quiet add", onclick: () => add(undefined, false) }, addLabel);
  for (const start of starts) add(start, true);
  return { elements: [list, button], values: () => parts.map((part) => part.value()) };
}

function listField(schema, path, initial, context) {
  const items = resolve(schema.items ?? { type: "string" }, context.schema);
  if (kindOf(items) === "choice" && schema.uniqueItems) return choicesField(schema, items, path, initial, context);
  const made = rows([initial].flat(), (index, start) =>
    control(items, join(path, String(index)), start, { ...context, label: `${items.title ?? "Item"} ${index + 1}`, required: true }), "Add an item");
  const field = group(schema, path, context, made.elements);
  return { ...field, value: () => {
    const values = made.values().filter((value) => value !== undefined);
    return values.length || context.required || schema.default !== undefined ? values : undefined;
  } };
}

function choicesField(schema, items, path, initial, context) {
  const boxes = items.enum.map((one, index) => {
    const input = h("input", { type: "checkbox", id: `f${++counter}` });
    input.checked = initial.includes(one);
    return [one, input, h("div", { class: "check" }, input, h("label", { for: input.id }, items.titles?.[index] ?? String(one)))];
  });
  const field = group(schema, path, context, boxes.map(([, , element]) => element));
  return { ...field, value: () => {
    const values = boxes.filter(([, input]) => input.checked).map(([one]) => one);
    return values.length || context.required ? values : undefined;
  } };
}

/** A map without declared names: rows of a name and a value. */
function mapField(schema, path, initial, context) {
  const values = typeof schema.additionalProperties === "object" ? schema.additionalProperties : {};
  const made = rows(Object.entries(initial), (index, start) => {
    const name = h("input", { type: "text", "aria-label": "Name", placeholder: "Name", autocomplete: "off" });
    name.value = start?.[0] ?? "";
    const value = control(values, join(path, `#${index}`), start?.[1], { ...context, label: "Value", required: false });
    return { element: h("div", { class: "pair" }, name, value.element), value: () => [name.value, value.value()] };
  }, "Add a value");
  const field = group(schema, path, context, made.elements);
  return { ...field, value: () => {
    const entries = made.values().filter(([name, value]) => name !== "" && value !== undefined);
    return entries.length || context.required ? Object.fromEntries(entries) : undefined;
  } };
}

const KINDS = { string: "Text", number: "Number", boolean: "Yes or no", array: "List", object: "Names and values", null: "Nothing" };

/** A value of no declared type: one chooses what it is. */
function anyField(schema, path, start, context) {
  const known = start === undefined ? "string" : start === null ? "null" : Array.isArray(start) ? "array" : typeof start;
  const select = h("select", { "aria-label": `Kind of ${context.label}` }, Object.entries(KINDS).map(([kind, name]) => h("option", { value: kind }, name)));
  select.value = known;
  const place = h("div", { class: "any-value" });
  let inner = null;
  function draw(value) {
    const kind = select.value;
    const items = kind === "array" ? { items: {} } : {};
    inner = kind === "null"
      ? { element: h("p", { class: "help" }, "No value (null)"), value: () => null }
      : control({ type: kind, ...items }, join(path, "#"), value, { ...context, label: "Value", required: kind === "boolean" });
    place.replaceChildren(inner.element);
  }
  select.addEventListener("change", () => draw(undefined));
  draw(start);
  const field = group(schema, path, context, [select, place]);
  return { ...field, value: () => inner.value() };
}

function join(path, name) {
  return path ? `${path}.${name}` : name;
}
