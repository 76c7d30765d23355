"""Masking: whatever Segue shows, logs or exports passes here, and a secret in it becomes `***`.

Three nets, from sure to wide. A *name* that holds secrets (`authorization`, `db_password`) hides its whole value. An
*exact value* that was resolved as a secret is found wherever it went, in its URL-encoded, base64 and JSON-escaped
forms too. And *text* is searched for what is a secret by its grammar: user information and parameters of URLs,
`Bearer …`, `password=…`. Personal data (e-mail, phone, card) is a fourth net, by named rules, off unless asked for.

A `Masker` is immutable; `with_names`, `with_values` and `with_rules` give a new one. All methods return the very
object they were given when there is nothing to hide.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, TypeVar, cast

from segue.observe.sensitive import (
    NOT_SENSITIVE_NAMES,
    PERSONAL_DATA_RULES,
    SENSITIVE_ENDINGS,
    SENSITIVE_NAMES,
    VALUE_LENGTH_MIN,
    forms_of,
    normalise_name,
)

MASK: Final = "***"
# Deeper values are hidden whole, so that hostile nesting can neither exhaust the stack nor slip through.
DEPTH_MAX: Final = 128
# The table of answered names stays small even when a flow invents names; beyond it, answers are computed each time.
_NAMES_REMEMBERED_MAX = 4096

_USERINFO = re.compile(r"(?<=://)[^\s/?#@\"'<>]+(?=@)")
_PARAMETER = re.compile(r"(?<=[?&#;])([A-Za-z0-9_.%\[\]-]{1,64})=([^&#;\s\"'<>]+)")
_CREDENTIAL = re.compile(r"\b(bearer|basic|digest|negotiate|apikey)(\s+)[A-Za-z0-9._~+/=-]{6,}", re.IGNORECASE)
# `password=x`, `"api_key": "x"`, `secret: x`: a name, at most one quote, a sign, then a quoted text or one word.
_ASSIGNMENT = re.compile(
    r"""(?<![\w-])([A-Za-z][\w.-]{1,63})(\\?["']?\s{0,4}[:=]\s{0,4})(\\?"(?:[^"\\]|\\.)*"|'[^'\n]*'|[^\s"',;&}\]]+)"""
)

_Header = TypeVar("_Header", bound="str | Sequence[str]")


class Masker:
    """Replaces secrets by `***`. Cheap to keep, made once for each set of secrets; safe to share between threads."""

    def __init__(self, *, names: Iterable[str] = (), values: Iterable[str] = (), rules: Iterable[str] = ()) -> None:
        """`names` adds to the default table. `values` shorter than 4 characters are not looked for. `rules` are names
        of `PERSONAL_DATA_RULES`; an unknown one raises ValueError.
        """
        self._names = frozenset(normalise_name(name) for name in names)
        self._values = frozenset(value for value in values if len(value) >= VALUE_LENGTH_MIN)
        self._rule_names = tuple(sorted(set(rules)))
        unknown = [rule for rule in self._rule_names if rule not in PERSONAL_DATA_RULES]
        if unknown:
            raise ValueError(f"unknown masking rule {unknown[0]!r}: use one of {', '.join(PERSONAL_DATA_RULES)}")
        forms = {form for value in self._values for form in forms_of(value) if len(form) >= VALUE_LENGTH_MIN}
        self._forms = tuple(sorted(forms, key=lambda form: (-len(form), form)))
        self._rules = tuple(PERSONAL_DATA_RULES[rule] for rule in self._rule_names)
        self._remembered: dict[str, bool] = {}

    def __repr__(self) -> str:
        return f"Masker({len(self._names)} names, {len(self._values)} values, rules={list(self._rule_names)})"

    def with_names(self, names: Iterable[str]) -> Masker:
        """This masker and more sensitive names."""
        return Masker(names=self._names | set(names), values=self._values, rules=self._rule_names)

    def with_values(self, values: Iterable[str]) -> Masker:
        """This masker and more exact secret values. Values shorter than 4 characters are ignored."""
        return Masker(names=self._names, values=self._values | set(values), rules=self._rule_names)

    def with_rules(self, rules: Iterable[str]) -> Masker:
        """This masker and more personal-data rules, by name."""
        return Masker(names=self._names, values=self._values, rules={*self._rule_names, *rules})

    def is_sensitive(self, name: str) -> bool:
        """Whether what is kept under `name` (a header, field or parameter) is a secret by its name."""
        known = self._remembered.get(name)
        if known is not None:
            return known
        plain = normalise_name(name)
        answer = plain in self._names or (
            plain not in NOT_SENSITIVE_NAMES and (plain in SENSITIVE_NAMES or plain.endswith(SENSITIVE_ENDINGS))
        )
        if len(self._remembered) < _NAMES_REMEMBERED_MAX:
            self._remembered[name] = answer
        return answer

    def mask_json(self, value: object) -> object:
        """`value` (JSON, and tuples) with every secret replaced. `null` and booleans under a sensitive name stay,
        since they tell nothing. Objects that JSON does not know are returned as they are: turn them into text first.
        """
        return self._mask(value, 0)

    def mask_text(self, text: str) -> str:
        """`text` with registered values, URL secrets, `Bearer …`, `name=value` of sensitive names and personal data
        hidden.
        """
        masked = self.mask_values(text)
        if "://" in masked or "?" in masked or "&" in masked:
            masked = self._mask_url_parts(masked)
        if ":" in masked or "=" in masked:
            masked = _ASSIGNMENT.sub(self._mask_assignment, masked)
        masked = _CREDENTIAL.sub(rf"\1\2{MASK}", masked)
        for pattern, is_it in self._rules:
            masked = pattern.sub(lambda match, is_it=is_it: MASK if is_it(match[0]) else match[0], masked)
        return text if masked == text else masked

    def mask_values(self, text: str) -> str:
        """`text` with registered values hidden in all their forms, and nothing else: for text that is already
        structured, such as a rendered log line. Overlapping finds are hidden as one, so that no end of a secret stays
        behind.
        """
        spans: list[tuple[int, int]] = []
        for form in self._forms:
            start = text.find(form)
            while start >= 0:
                spans.append((start, start + len(form)))
                start = text.find(form, start + 1)
        if not spans:
            return text
        spans.sort()
        pieces: list[str] = []
        end_of_last = 0
        for start, end in spans:
            if start >= end_of_last:
                pieces += (text[end_of_last:start], MASK)
            end_of_last = max(end_of_last, end)
        pieces.append(text[end_of_last:])
        return "".join(pieces)

    def mask_headers(self, headers: Mapping[str, _Header]) -> Mapping[str, _Header]:
        """Headers with sensitive ones replaced whole and the others searched as text. Lists keep their length."""
        masked = {name: cast("_Header", self._mask_header(name, value)) for name, value in headers.items()}
        return headers if masked == headers else masked

    def mask_url(self, url: str) -> str:
        """A URL without its user information and without values of sensitive parameters (in query and fragment)."""
        return self._mask_url_parts(self.mask_values(url))

    def _mask_header(self, name: str, value: str | Sequence[str]) -> str | Sequence[str]:
        hide = self.is_sensitive(name)
        if isinstance(value, str):
            return MASK if hide else self.mask_text(value)
        return [MASK if hide else self.mask_text(part) for part in value]

    def _mask_url_parts(self, text: str) -> str:
        return _PARAMETER.sub(self._mask_parameter, _USERINFO.sub(MASK, text))

    def _mask_parameter(self, match: re.Match[str]) -> str:
        return f"{match[1]}={MASK}" if self.is_sensitive(match[1]) else match[0]

    def _mask_assignment(self, match: re.Match[str]) -> str:
        name, sign, value = match.groups()
        if not self.is_sensitive(name) or value in {"null", "true", "false", MASK}:
            return match[0]
        if _CREDENTIAL_SCHEME.fullmatch(value):
            return match[0]  # `Authorization: Bearer x`: the credential rule hides what follows the scheme
        quote = re.match(r"""\\?["']""", value)
        return f"{name}{sign}{quote[0]}{MASK}{quote[0]}" if quote else f"{name}{sign}{MASK}"

    def _mask(self, value: object, depth: int) -> object:
        if isinstance(value, str):
            return self.mask_text(value)
        if isinstance(value, Mapping):
            return self._mask_map(cast("Mapping[object, object]", value), depth)
        if isinstance(value, list | tuple):
            return self._mask_list(cast("list[object] | tuple[object, ...]", value), depth)
        return value

    def _mask_map(self, value: Mapping[object, object], depth: int) -> object:
        if depth >= DEPTH_MAX:
            return MASK
        changed = False
        masked: dict[object, object] = {}
        for name, item in value.items():
            if isinstance(name, str):
                hide = item is not None and not isinstance(item, bool) and self.is_sensitive(name)
                shown_name = self.mask_values(name)
            else:
                hide, shown_name = False, name
            shown = MASK if hide else self._mask(item, depth + 1)
            changed = changed or shown is not item or shown_name is not name
            masked[shown_name] = shown
        return masked if changed else value

    def _mask_list(self, value: list[object] | tuple[object, ...], depth: int) -> object:
        if depth >= DEPTH_MAX:
            return MASK
        masked = [self._mask(item, depth + 1) for item in value]
        if all(shown is item for shown, item in zip(masked, value, strict=True)):
            return value
        return masked


_CREDENTIAL_SCHEME = re.compile(r"bearer|basic|digest|negotiate|apikey", re.IGNORECASE)
DEFAULT_MASKER: Final = Masker()
