"""The page on which a person answers a step that waits: a plain HTML form, without any script, for phones too.

It is made from the callback's JSON Schema. What a person sees is escaped; the page holds no secret but its own address.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Final

import msgspec

from segue.api.form_fields import Field
from segue.flow.model import JsonValue

OWN_FIELDS: Final = frozenset({"decision", "approved", "by", "comment"})
"""Fields of every approval, which the page lays out itself."""
_SEND: Final = '<p class="buttons"><button class="yes">Send</button></p>'
FREE_TEXT: Final = "answer"
"""The field of a callback without a schema."""


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What a person is asked. `decisions`: of how many people must agree (`need`) these have decided already."""

    flow: str
    step: str
    is_approval: bool
    message: str | None = None
    to: Sequence[str] = ()
    need: int = 1
    decisions: Sequence[str] = ()
    until: str | None = None
    signed: bool = False
    """Only a system that can sign may answer."""


def form_page(
    asked: Question,
    fields: Sequence[Field] | None,
    *,
    given: Mapping[str, Sequence[str]] | None = None,
    errors: Sequence[tuple[str, str]] = (),
) -> str:
    """The form; with `given` as it was filled in, and `errors` (path and sentence) that it was sent back for."""
    title = "Your approval is asked for" if asked.is_approval else "Your answer is asked for"
    parts = [_header(asked, title)]
    if asked.signed:
        parts.append(
            '<p class="note">Only a system that signs its answers can answer this. There is nothing to do here.</p>'
        )
        return _page(title, parts)
    values, wrong = given or {}, dict(errors)
    form = Form(values, wrong, filled=given is not None)
    if errors:
        parts.append(_summary(errors, [one.name for top in fields or () for one in top.leaves()]))
    parts.append('<form method="post" accept-charset="utf-8">')
    if fields is None and not asked.is_approval:
        parts.append(form.html(Field(name=FREE_TEXT, key=FREE_TEXT, label="Answer", kind="textarea")))
    parts += [form.html(one) for one in fields or ()]
    parts.append(
        _closing(asked, form) if asked.is_approval else '<p class="buttons"><button class="yes">Send</button></p>'
    )
    parts.append("</form>")
    return _page(title, parts)


def message_page(title: str, sentences: Sequence[str]) -> str:
    """A page that only says something: thanks, or why there is nothing to answer."""
    return _page(title, [f"<h1>{escape(title)}</h1>", *(f"<p>{escape(sentence)}</p>" for sentence in sentences)])


class Form:
    """The fields of one form, with what was filled in and what is wrong with it."""

    def __init__(self, given: Mapping[str, Sequence[str]], wrong: Mapping[str, str], *, filled: bool) -> None:
        self._given = given
        self._wrong = wrong
        self._filled = filled

    def html(self, one: Field) -> str:
        """A field with its label, hint and mistake."""
        if one.kind == "group":
            inner = "".join(self.html(field) for field in one.inner)
            return f"<fieldset><legend>{escape(one.label)}</legend>{self._hint(one)}{inner}</fieldset>"
        if one.kind == "several":
            boxes = "".join(self._box(one, place, option) for place, option in enumerate(one.options))
            legend = f"<legend>{self._label(one)}</legend>"
            return f'<fieldset id="{_id(one)}">{legend}{self._hint(one)}{self._mistake(one)}{boxes}</fieldset>'
        if one.kind == "checkbox":
            checked = bool(self._given.get(one.name)) if self._filled else one.default is True
            box = f'<input type="checkbox" value="true"{" checked" if checked else ""}{self._common(one)}>'
            label = f'<label for="{_id(one)}">{escape(one.label)}</label>'
            return f'<div class="field check">{box} {label}{self._hint(one)}{self._mistake(one)}</div>'
        label = f'<label for="{_id(one)}">{self._label(one)}</label>'
        return f'<div class="field">{label}{self._hint(one)}{self._control(one)}{self._mistake(one)}</div>'

    def _control(self, one: Field) -> str:
        common = self._common(one)
        if one.kind == "select":
            empty = "" if one.required else '<option value="">–</option>'
            options = "".join(self._option(one, place, option) for place, option in enumerate(one.options))
            return f"<select{common}>{empty}{options}</select>"
        value = escape(self._value(one))
        if one.kind in ("textarea", "lines", "json"):
            return f'<textarea rows="4"{common}>{value}</textarea>'
        of = {"datetime": "datetime-local", "integer": "number"}.get(one.kind, one.kind)
        return f'<input type="{of}" value="{value}"{common}>'

    def _common(self, one: Field) -> str:
        found = {"id": _id(one), "name": one.name, **one.attributes}
        described = [
            f"{_id(one)}-{part}"
            for part, is_there in (("hint", _hint_of(one)), ("error", one.name in self._wrong))
            if is_there
        ]
        if described:
            found["aria-describedby"] = " ".join(described)
        if one.name in self._wrong:
            found["aria-invalid"] = "true"
        flags = " required" if one.required and one.kind != "checkbox" else ""
        return "".join(f' {name}="{escape(value)}"' for name, value in found.items()) + flags

    def _value(self, one: Field) -> str:
        if self._filled:
            return next(iter(self._given.get(one.name, ())), "")
        if one.default is None:
            return ""
        if one.kind == "lines" and isinstance(one.default, list):
            return "\n".join(str(item) for item in one.default)
        return one.default if isinstance(one.default, str) else msgspec.json.encode(one.default).decode()

    def _is_chosen(self, one: Field, place: int, option: JsonValue) -> bool:
        if self._filled:
            return str(place) in self._given.get(one.name, ())
        return (
            option in one.default if one.kind == "several" and isinstance(one.default, list) else option == one.default
        )

    def _option(self, one: Field, place: int, option: JsonValue) -> str:
        chosen = " selected" if self._is_chosen(one, place, option) else ""
        return f'<option value="{place}"{chosen}>{escape(_shown(option))}</option>'

    def _box(self, one: Field, place: int, option: JsonValue) -> str:
        checked = " checked" if self._is_chosen(one, place, option) else ""
        id = f"{_id(one)}-{place}"
        box = f'<input type="checkbox" id="{id}" name="{escape(one.name)}" value="{place}"{checked}>'
        return f'<div class="check">{box} <label for="{id}">{escape(_shown(option))}</label></div>'

    def _label(self, one: Field) -> str:
        return escape(one.label) + ("" if one.required else ' <span class="optional">(optional)</span>')

    def _hint(self, one: Field) -> str:
        hint = _hint_of(one)
        return f'<p class="hint" id="{_id(one)}-hint">{escape(hint)}</p>' if hint else ""

    def _mistake(self, one: Field) -> str:
        wrong = self._wrong.get(one.name)
        return "" if wrong is None else f'<p class="error" id="{_id(one)}-error">{escape(wrong)}</p>'


def _hint_of(one: Field) -> str | None:
    ours = {"lines": "One a line.", "datetime": "In UTC.", "json": "A text, or JSON."}.get(one.kind)
    return " ".join(part for part in (one.hint, ours) if part) or None


def _header(asked: Question, title: str) -> str:
    parts = [f"<h1>{escape(title)}</h1>"]
    if asked.message:
        parts.append(f'<p class="message">{escape(asked.message)}</p>')
    facts = [("Flow", asked.flow), ("Step", asked.step)]
    if asked.to:
        facts.append(("Asked", ", ".join(asked.to)))
    if asked.until:
        facts.append(("Until", f"{asked.until[:16].replace('T', ' ')} UTC"))
    if asked.need > 1:
        have = f"{len(asked.decisions)} of {asked.need} people have approved"
        facts.append(("So far", f"{have} ({', '.join(asked.decisions)})" if asked.decisions else have))
    rows = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in facts)
    return f"{''.join(parts)}<dl>{rows}</dl>"


def _closing(asked: Question, form: Form) -> str:
    who = Field(
        name="by", key="by", label="Your name", kind="text", required=asked.need > 1, attributes={"maxlength": "200"}
    )
    why = Field(name="comment", key="comment", label="Comment", kind="textarea")
    approve = '<button class="yes" name="decision" value="approve">Approve</button>'
    reject = '<button class="no" name="decision" value="reject" formnovalidate>Reject</button>'
    return f'{form.html(who)}{form.html(why)}<p class="buttons">{approve}{reject}</p>'


def _summary(errors: Sequence[tuple[str, str]], names: Sequence[str]) -> str:
    known = {*names, *OWN_FIELDS}
    rows = [
        f'<li><a href="#{_id_of(path)}">{escape(path)}: {escape(sentence)}</a></li>'
        if path in known
        else f"<li>{escape(f'{path}: {sentence}' if path else sentence)}</li>"
        for path, sentence in errors
    ]
    return f'<div class="errors" role="alert"><h2>Not sent yet</h2><ul>{"".join(rows)}</ul></div>'


def _shown(option: JsonValue) -> str:
    return option if isinstance(option, str) else msgspec.json.encode(option).decode()


def _id(one: Field) -> str:
    return _id_of(one.name)


def _id_of(name: str) -> str:
    return "f-" + escape(name).replace(" ", "_")


def _page(title: str, parts: Sequence[str]) -> str:
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark"><meta name="robots" content="noindex">'
        f"<title>{escape(title)}</title>"
        '<link rel="icon" href="/assets/icon.svg" type="image/svg+xml">'
        '<link rel="stylesheet" href="/assets/callback.css"></head>'
        f"<body><main>{''.join(parts)}</main></body></html>"
    )
