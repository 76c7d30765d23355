"""Values of parameters: JSON with references and computations in its texts (section 5 of the flow language).

1. A text that is wholly `$name` followed by `.field`, `[0]` or `["key"]` is that value, typed. `$$` is a dollar sign.
2. `{{ expr }}` or `${{ expr }}` alone in the text keeps its type; inside of text it becomes text (`to_text`: null is
   empty).
   `{{ "{{" }}` writes braces.
3. Everything else, keys of maps included, is what it says. `$5 off` and `Dear $name` are texts.

Where there is a value at hand (a step's `output`), `$`, `$.field`, `$[0]` and `$["key"]` alone in a text are references
too. Elsewhere they are texts, such as the JSONPath query that an action is sent.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, TypeAlias, cast

from segue.expr.budget import DEFAULT_BUDGET, VALUE_DEPTH_MAX, Budget
from segue.expr.errors import BudgetExceeded, ExprError, ExprSyntaxError, UnknownName
from segue.expr.frame import Frame, Impure, Scope, text_bytes
from segue.expr.lexer import tokenize, tokenize_until_braces
from segue.expr.ops import is_list, is_map
from segue.expr.program import Program, build, check_length
from segue.expr.references import Reference
from segue.expr.sealed import MarkedScope, marked
from segue.expr.text import to_text

Path: TypeAlias = tuple[str | int, ...]
_Make: TypeAlias = Callable[[Scope, Impure | None], Any]

_STEPS_DOWN: Final = r"""(?:\.[A-Za-z_]\w*|\[[0-9]+\]|\["(?:[^"\\\n]|\\.)*"\]|\['(?:[^'\\\n]|\\.)*'\])*"""
_REFERENCE: Final = re.compile(r"\$[A-Za-z_]\w*" + _STEPS_DOWN)
_REFERENCE_AT_HAND: Final = re.compile(r"\$(?:[A-Za-z_]\w*)?" + _STEPS_DOWN)
_NOTHING: Final = object()
_SPECIAL: Final = re.compile(r"\$\$|\$?\{\{")


class Value:
    """Made by `compile_value`; immutable. A constant gives the raw value itself, and costs nothing."""

    __slots__ = ("_make", "impure", "is_constant", "programs", "raw", "references")

    def __init__(
        self, raw: object, constant: object, make: _Make | None, programs: tuple[tuple[Path, Program], ...]
    ) -> None:
        self.raw: Final = raw
        self.is_constant: Final = make is None
        self.programs: Final = programs
        self.references: Final[tuple[Reference, ...]] = tuple(
            reference.inside(path) for path, program in programs for reference in program.references
        )
        self.impure: Final[frozenset[str]] = frozenset(name for _, program in programs for name in program.impure)
        self._make: Final[_Make] = make if make is not None else lambda scope, impure: constant

    def evaluate(self, scope: Scope, impure: Impure | None = None) -> object:
        """The value in the scope. Raises ExprEvalError, BudgetExceeded, each with the path of the scalar."""
        return self._make(scope, impure)


def compile_value(
    raw: object,
    *,
    budget: Budget = DEFAULT_BUDGET,
    placeholders: Mapping[str, str] | None = None,
    at_hand: bool = False,
) -> Value:
    """Compile a JSON value. Raises ExprSyntaxError, BudgetExceeded, with the path of the scalar and the offset in it.

    Each expression has its own budget. Objects that are no JSON are passed on as they are. Of an expression that reads
    one of the names in `placeholders` nothing is computed: the placeholder stands for its value. `at_hand`: there is a
    value at hand, so `$.field` alone in a text is a reference.
    """
    compiler = _ValueCompiler(budget, placeholders or {}, _REFERENCE_AT_HAND if at_hand else _REFERENCE)
    constant, make = compiler.compile(raw, ())
    return Value(raw, constant, make, tuple(compiler.programs))


class _ValueCompiler:
    def __init__(self, budget: Budget, placeholders: Mapping[str, str], reference: re.Pattern[str]) -> None:
        self._budget = budget
        self._reference = reference
        self._placeholders = placeholders
        self.programs: list[tuple[Path, Program]] = []

    def compile(self, raw: Any, path: Path) -> tuple[object, _Make | None]:
        """The constant (used if nothing below computes), and what makes the value if something does."""
        if isinstance(raw, str):
            return self._text(raw, path)
        if len(path) > VALUE_DEPTH_MAX:
            raise BudgetExceeded("EXP202", f"a value nests more than {VALUE_DEPTH_MAX} levels deep", path=path)
        if is_map(raw):
            return self._map(raw, path)
        if is_list(raw):
            return self._list(raw, path)
        return raw, None

    def _map(self, raw: Mapping[Any, Any], path: Path) -> tuple[object, _Make | None]:
        parts = {
            key: self.compile(item, (*path, key if isinstance(key, int) else str(key))) for key, item in raw.items()
        }
        constants = {key: constant for key, (constant, _) in parts.items()}
        makers = [(key, make) for key, (_, make) in parts.items() if make is not None]
        if not makers:
            unchanged = all(constants[key] is item for key, item in raw.items())
            return (raw if unchanged else constants), None

        def make_map(scope: Scope, impure: Impure | None) -> dict[Any, Any]:
            made = constants.copy()
            for key, make in makers:
                made[key] = make(scope, impure)
            return made

        return None, make_map

    def _list(self, raw: Any, path: Path) -> tuple[object, _Make | None]:
        parts = [self.compile(item, (*path, position)) for position, item in enumerate(raw)]
        constants = [constant for constant, _ in parts]
        makers = [(position, make) for position, (_, make) in enumerate(parts) if make is not None]
        if not makers:
            unchanged = all(one is other for one, other in zip(constants, raw, strict=True))
            return (raw if unchanged else constants), None

        def make_list(scope: Scope, impure: Impure | None) -> list[Any]:
            made = constants.copy()
            for position, make in makers:
                made[position] = make(scope, impure)
            return made

        return None, make_list

    def _text(self, raw: str, path: Path) -> tuple[object, _Make | None]:
        if "$" not in raw and "{{" not in raw:
            return raw, None
        try:
            if self._reference.fullmatch(raw):
                check_length(raw, self._budget)
                pieces = [build(raw, tokenize(raw), self._budget)]
            else:
                pieces = list(self._pieces(raw))
        except ExprError as error:
            error.path = path
            raise
        # A block scalar of YAML ends with a line break that nobody means as text.
        if len(pieces) == 2 and isinstance(pieces[0], Program) and pieces[1] == "\n":
            pieces.pop()
        pieces = [self._placeholder(piece) for piece in pieces]
        if all(isinstance(piece, str) for piece in pieces):
            return "".join(piece for piece in pieces if isinstance(piece, str)), None
        if len(pieces) == 1 and isinstance(pieces[0], Program):
            return None, self._single(pieces[0], path)
        return None, self._joined(pieces, path)

    def _placeholder(self, piece: str | Program) -> str | Program:
        names = () if isinstance(piece, str) else (reference.root for reference in piece.references)
        return next((self._placeholders[name] for name in names if name in self._placeholders), piece)

    def _pieces(self, raw: str) -> Iterator[str | Program]:
        """Texts (with their escapes undone) and programs, in order."""
        position = 0
        plain: list[str] = []
        while found := _SPECIAL.search(raw, position):
            plain.append(raw[position : found.start()])
            if found.group() == "$$":
                plain.append("$")
                position = found.end()
                continue
            if text := "".join(plain):
                yield text
            plain = []
            check_length(raw, self._budget)
            tokens, position = tokenize_until_braces(raw, found.end())
            if len(tokens) == 1:
                raise ExprSyntaxError(
                    "EXP006", "there is no expression between `{{` and `}}`", start=found.start(), end=position
                )
            yield build(raw, tokens, self._budget)
        plain.append(raw[position:])
        if text := "".join(plain):
            yield text

    def _single(self, program: Program, path: Path) -> _Make:
        self.programs.append((path, program))
        if program.plain_path is not None:
            return _plain(program, *program.plain_path, path)

        def make(scope: Scope, impure: Impure | None) -> object:
            try:
                return program.evaluate(scope, impure)
            except ExprError as error:
                error.path = path
                raise

        return make

    def _joined(self, pieces: list[str | Program], path: Path) -> _Make:
        self.programs.extend((path, piece) for piece in pieces if isinstance(piece, Program))
        budget = self._budget

        def make(scope: Scope, impure: Impure | None) -> object:
            if type(scope) is MarkedScope:
                return marked(scope, lambda reading: make(reading, impure))
            frame = Frame(scope, impure, budget, budget.nodes, 0)
            made: list[str] = []
            size = 0
            try:
                for piece in pieces:
                    if isinstance(piece, str):
                        made.append(piece)
                    else:
                        made.append(_piece_text(frame, piece, piece.evaluate(scope, impure)))
                    size += text_bytes(made[-1])
                    if size > budget.output_bytes:
                        frame.reserve_text(size)
            except ExprError as error:
                error.path = path
                raise
            return "".join(made)

        return make


def _plain(program: Program, name: str, fields: tuple[str, ...], path: Path) -> _Make:
    """Most parameters are plain references: they need no frame and no budget, as long as maps are on the way."""

    def make(scope: Scope, impure: Impure | None) -> object:
        try:
            value = scope.lookup(name)
        except UnknownName:
            value = _NOTHING
        for field in fields:
            if type(value) is not dict:
                value = _NOTHING
                break
            value = cast("dict[str, object]", value).get(field)
        if value is not _NOTHING:
            return value
        try:
            return program.evaluate(scope, impure)
        except ExprError as error:
            error.path = path
            raise

    return make


def _piece_text(frame: Frame, program: Program, value: object) -> str:
    try:
        return to_text(frame, value)
    except ExprError as error:
        error.locate(program.start, program.end)
        raise
