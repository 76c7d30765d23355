"""Masking: whatever Segue shows, logs or exports passes here, and a secret in it becomes `***`.

Three nets, from sure to wide. A *name* that holds secrets (`authorization`, `db_password`) hides its whole value. An
*exact value* that was resolved as a secret is found wherever it went, in its URL-encoded, base64 and JSON-escaped
forms too. And *text* is searched for what is a secret by its grammar: user information and parameters of URLs,
`Bearer …`, `password=…`. Personal data (e-mail, phone, card, IBAN) is a fourth net, by named rules: on in log lines,
elsewhere where a flow asks for it.

A `Masker` is immutable; `with_names`, `with_values` and `with_rules` give a new one. All methods return the very
object they were given when there is nothing to hide.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Final, cast

import msgspec

from segue.observe.sensitive import (
    LOG_RULES,
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

# The patterns of what is a secret by its grammar. Each consumes what it looked at, so that hostile text costs linear
# time.
_USERINFO = re.compile(r"(?<=://)[^\s/?#\"'<>]+(?=@)")
_PARAMETER = re.compile(r"(?<=[?&#;])([A-Za-z0-9_.%\[\]-]{1,64})=([^&#;\s\"'<>]+)")
# `Bearer x`; but not "Basic authentication is required", which a person must be able to read.
_CREDENTIAL = re.compile(
    r"\b(bearer|basic)(\s{1,4})(?!auth|realm|token|scheme|credential|access)[A-Za-z0-9._~+/=-]{6,}", re.IGNORECASE
)
_HEADER_LINE = re.compile(
    r"(?<![\w\"'-])((?:proxy-)?authorization|(?:set-)?cookie)([ \t]{0,4}:[ \t]{0,4})[^\s\"'{}][^\r\n\"'{}]*",
    re.IGNORECASE,
)
# `password=x`, `"api_key": "x"`, `secret: x`, `\"token\": \"x\"`: a name, a sign, then a quoted text (closed or cut
# off) or one word.
_ASSIGNMENT = re.compile(
    r"""(?<![\w-])([A-Za-z][\w.-]{1,63})(\\?["']?\s{0,4}[:=]\s{0,4})"""
    r"""(\\"[^"\\]*(?:\\")?|"(?:[^"\\]|\\.)*"?|'[^'\n]*'?|[^\s"',;&}\]\\]+)""",
    re.DOTALL,
)
_PRIVATE_KEY = re.compile(
    r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----.*?(?:-----END [A-Z ]{0,40}PRIVATE KEY-----|\Z)", re.DOTALL
)
_JSON_WEB_TOKEN = re.compile(r"(?<![\w-])eyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*)?")
_OPENING_QUOTE = re.compile(r"""\\?["']""")
# What no rule of `_mask_grammar` can do without: a text that has none of these is left alone at once. Plain searches
# are many times faster than one pattern, and most texts of a flow's data are short and have none.
_HINTS: Final = (":", "=", "eyJ", "earer", "asic", "EARER", "ASIC", "PRIVATE KEY")


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
        # As msgspec writes them inside a document, so that `_may_contain_a_value` misses none.
        self._encoded_forms = tuple(msgspec.json.encode(form)[1:-1] for form in self._forms)
        self._rules = tuple(PERSONAL_DATA_RULES[rule] for rule in self._rule_names)
        self._remembered: dict[str, bool] = {}

    def __repr__(self) -> str:
        return f"Masker({len(self._names)} names, {len(self._values)} values, rules={list(self._rule_names)})"

    def with_names(self, names: Iterable[str]) -> Masker:
        """This masker and more sensitive names."""
        return Masker(names=self._names | set(names), values=self._values, rules=self._rule_names)

    def with_values(self, values: Iterable[str]) -> Masker:
        """This masker and more exact secret values. Values shorter than 4 characters are ignored."""
        values = frozenset(values)
        if values <= self._values:
            return self
        return Masker(names=self._names, values=self._values | set(values), rules=self._rule_names)

    def with_rules(self, rules: Iterable[str]) -> Masker:
        """This masker and more personal-data rules, by name."""
        made = Masker(rules={*self._rule_names, *rules})
        # The values' forms, which take long to find, are the same.
        made._names, made._values, made._remembered = self._names, self._values, self._remembered
        made._forms, made._encoded_forms = self._forms, self._encoded_forms
        return made

    def for_logs(self) -> Masker:
        """This masker for log lines: personal data is hidden in them, too."""
        return self.with_rules(LOG_RULES)

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

    def declares(self, name: str) -> bool:
        """Whether `name` is one of the names that were added to the default table."""
        return normalise_name(name) in self._names

    def tells_declared(self, text: str) -> bool:
        """Whether a text has something in it under an added name (JSON, a form, a query), or that an added rule
        hides.
        """
        if ("=" in text or ":" in text) and self._names:
            told = (match[1] for pattern in (_PARAMETER, _ASSIGNMENT) for match in pattern.finditer(text))
            if any(self.declares(name) for name in told):
                return True
        return any(_hidden(match[0], is_it) != match[0] for pattern, is_it in self._rules
                   for match in pattern.finditer(text))  # fmt: skip

    def mask_json(self, value: object) -> object:
        """`value` (JSON, and tuples) with every secret replaced. `null` and booleans under a sensitive name stay,
        since they tell nothing. Objects that JSON does not know are returned as they are: turn them into text first.
        """
        return self._mask(value, 0, scans_values=self._may_contain_a_value(value))

    def holds_value(self, value: object) -> bool:
        """Whether a registered value, in any of its forms, is somewhere in `value` (JSON), names of fields included."""
        if isinstance(value, str):
            return self.mask_values(value) != value
        if isinstance(value, Mapping):
            parts = cast("Mapping[object, object]", value).items()
            return any(self.holds_value(name) or self.holds_value(part) for name, part in parts)
        if isinstance(value, list | tuple):
            return any(self.holds_value(part) for part in cast("list[object]", value))
        return isinstance(value, int | float) and str(value) in self._values

    def _may_contain_a_value(self, value: object) -> bool:
        """One search of the whole document instead of one for each of its texts. False is certain."""
        if not self._forms:
            return False
        if isinstance(value, str):
            return True
        try:
            document = msgspec.json.encode(value, enc_hook=str)
        except (TypeError, ValueError, RecursionError):
            return True
        return any(form in document for form in self._encoded_forms)

    def mask_text(self, text: str) -> str:
        """`text` with registered values, URL secrets, `Bearer …`, `name=value` of sensitive names and personal data
        hidden.
        """
        return self._mask_text(text, scans_values=bool(self._forms))

    def mask_code(self, text: str) -> str:
        """As `mask_text`, but for text that computes: `x.token == y` is a comparison there and gives nothing away."""
        return self._mask_text(text, scans_values=bool(self._forms), is_code=True)

    def _mask_text(self, text: str, *, scans_values: bool, is_code: bool = False) -> str:
        masked = self.mask_values(text) if scans_values else text
        if any(hint in masked for hint in _HINTS):
            masked = self._mask_grammar(masked, is_code=is_code)
        for pattern, is_it in self._rules:
            masked = pattern.sub(lambda match, is_it=is_it: _hidden(match[0], is_it), masked)
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

    def mask_url(self, url: str) -> str:
        """A URL without its user information and without values of sensitive parameters (in query and fragment)."""
        return self._mask_url_parts(self.mask_values(url))

    def _mask_grammar(self, text: str, *, is_code: bool) -> str:
        if "PRIVATE KEY" in text:
            text = _PRIVATE_KEY.sub(MASK, text)
        if "eyJ" in text:
            text = _JSON_WEB_TOKEN.sub(MASK, text)
        if ":" in text:
            text = _HEADER_LINE.sub(rf"\1\2{MASK}", text)
        text = _CREDENTIAL.sub(rf"\1\2{MASK}", text)
        if ":" in text or "=" in text:
            text = self._mask_url_parts(text)
            text = text if is_code else _ASSIGNMENT.sub(self._mask_assignment, text)
        return text

    def _mask_url_parts(self, text: str) -> str:
        return _PARAMETER.sub(self._mask_parameter, _USERINFO.sub(MASK, text))

    def _mask_parameter(self, match: re.Match[str]) -> str:
        return f"{match[1]}={MASK}" if self.is_sensitive(match[1]) else match[0]

    def _mask_assignment(self, match: re.Match[str]) -> str:
        name, sign, value = match.groups()
        if not self.is_sensitive(name) or value in {"null", "true", "false", MASK}:
            return match[0]
        quote = _OPENING_QUOTE.match(value)
        return f"{name}{sign}{quote[0]}{MASK}{quote[0]}" if quote else f"{name}{sign}{MASK}"

    def _mask(self, value: object, depth: int, *, scans_values: bool) -> object:
        if isinstance(value, str):
            # A text of a type of its own is a sealed value (`segue.expr.sealed`).
            return self._mask_text(value, scans_values=scans_values) if type(value) is str else MASK
        if isinstance(value, Mapping):
            return self._mask_map(cast("Mapping[object, object]", value), depth, scans_values=scans_values)
        if isinstance(value, list | tuple):
            items = cast("list[object] | tuple[object, ...]", value)
            return self._mask_list(items, depth, scans_values=scans_values)
        if isinstance(value, int | float) and not isinstance(value, bool):
            is_hidden = (scans_values and str(value) in self._values) or (
                bool(self._rules) and isinstance(value, int) and self._is_personal(str(value))
            )
            return MASK if is_hidden else value
        return value

    def _is_personal(self, text: str) -> bool:
        return any(pattern.fullmatch(text) and is_it(text) for pattern, is_it in self._rules)

    def _mask_map(self, value: Mapping[object, object], depth: int, *, scans_values: bool) -> object:
        if depth >= DEPTH_MAX:
            return MASK
        changed = False
        masked: dict[object, object] = {}
        for name, item in value.items():
            shown_name = name
            if isinstance(name, str) and item is not None and not isinstance(item, bool) and self.is_sensitive(name):
                shown: object = MASK
            else:
                shown = self._mask(item, depth + 1, scans_values=scans_values)
            if scans_values and isinstance(name, str):
                shown_name = self.mask_values(name)
            changed = changed or shown is not item or shown_name is not name
            masked[shown_name] = shown
        return masked if changed else value

    def _mask_list(self, value: list[object] | tuple[object, ...], depth: int, *, scans_values: bool) -> object:
        if depth >= DEPTH_MAX:
            return MASK
        masked = [self._mask(item, depth + 1, scans_values=scans_values) for item in value]
        if all(shown is item for shown, item in zip(masked, value, strict=True)):
            return value
        return masked


def _hidden(found: str, is_it: Callable[[str], bool]) -> str:
    """The text without the personal data that it begins with: a pattern may have taken the next word along."""
    text = found
    while text:
        if is_it(text):
            return MASK + found[len(text) :]
        text = text[: max(text.rfind(" "), 0)]
    return found


@lru_cache(maxsize=256)
def masker_for(names: tuple[str, ...]) -> Masker:
    """The default masker with what a flow's `masking` names: fields, and the rules that are called so."""
    return Masker(names=names, rules=set(names) & PERSONAL_DATA_RULES.keys()) if names else DEFAULT_MASKER


@lru_cache(maxsize=256)
def log_masker_for(names: tuple[str, ...]) -> Masker:
    """The same for log lines."""
    return masker_for(names).for_logs()


DEFAULT_MASKER: Final = Masker()
LOG_MASKER: Final = DEFAULT_MASKER.for_logs()
"""What log lines go through: personal data is hidden in them, too."""
