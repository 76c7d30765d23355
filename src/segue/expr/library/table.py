"""How a function of the library is declared: one row holds its name, types, documentation, example and meaning.

The compiler checks argument counts, and the evaluator argument types, from the row's signature; the documentation is
made of the same rows, and a test evaluates every example. A signature reads `name(param: type, optional?: type,
rest...: type)` followed by `-> type`; types are joined with `|`. `any` takes null as well, `value` everything but null.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import NoneType
from typing import Any, Final

import msgspec

from segue.expr.errors import ExprEvalError
from segue.expr.types import Cidr, Duration, IpAddress, OptionalValue, Timestamp, TypeValue, Uint, spoken

_TYPES: Final[dict[str, tuple[type, ...]]] = {
    "null": (NoneType,),
    "bool": (bool,),
    "int": (int,),
    "uint": (Uint,),
    "double": (float,),
    "number": (int, Uint, float),
    "string": (str,),
    "bytes": (bytes,),
    "list": (list, tuple),
    "map": (dict,),
    "timestamp": (Timestamp,),
    "duration": (Duration,),
    "type": (TypeValue,),
    "optional": (OptionalValue,),
    "ip": (IpAddress,),
    "cidr": (Cidr,),
}
_SIGNATURE: Final = re.compile(r"(?P<name>[\w.]+)\((?P<params>.*)\) -> (?P<returns>[\w|]+)")
_PARAM: Final = re.compile(r"(?P<name>\w+)(?P<mark>\?|\.\.\.)?: (?P<types>[\w|]+)")
_VALUE: Final = frozenset(kind for name, kinds in _TYPES.items() if name != "null" for kind in kinds)


class Param(msgspec.Struct, frozen=True, kw_only=True):
    """One parameter; `types` are the words of the signature, `kinds` the exact Python types (None: anything)."""

    name: str
    types: tuple[str, ...]
    kinds: frozenset[type] | None

    def admits(self, value: object) -> bool:
        """Whether a value of an unusual Python type (a Mapping, a subclass of str) stands for one of the types."""
        if self.kinds is None:
            return True
        if isinstance(value, bool):
            return bool in self.kinds
        if isinstance(value, Mapping):
            return dict in self.kinds
        return any(isinstance(value, kind) for kind in self.kinds)


class FunctionDoc(msgspec.Struct, frozen=True, kw_only=True):
    """What the documentation and the checker say about a function; `result` is what the example gives, as JSON."""

    name: str
    group: str
    signature: str
    doc: str
    example: str
    result: object
    impure: bool


class Function(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the library. `implementation` is called with the frame and the arguments, whose types were checked."""

    about: FunctionDoc
    params: tuple[Param, ...]
    required: int
    variadic: bool
    constant_time: bool
    """Its work does not grow with its arguments, so that only the call itself is paid for."""
    implementation: Callable[..., Any]

    @property
    def takes_null(self) -> bool:
        """Whether a null before the dot or pipe is for the function to judge, instead of making the result null."""
        return bool(self.params) and (self.params[0].kinds is None or NoneType in self.params[0].kinds)

    def params_for(self, count: int) -> tuple[Param, ...] | None:
        """The parameters that `count` arguments fill, or None if the function does not take so many."""
        if count < self.required or (count > len(self.params) and not self.variadic):
            return None
        return self.params[:count] + self.params[-1:] * (count - len(self.params))

    def refuse(self, position: int, param: Param, value: object) -> ExprEvalError:
        """The error for an argument of a type that the function does not take."""
        wanted = " or ".join(param.types)
        hint = "give the missing value a default with `??`" if value is None else None
        return ExprEvalError(
            "EXP103",
            f"`{self.about.name}` takes {wanted} as `{param.name}` (argument {position + 1}), not {spoken(value)}",
            suggestion=hint,
        )


class Table:
    """The functions of one group, in the order of the documentation."""

    def __init__(self, group: str) -> None:
        self.group = group
        self.functions: list[Function] = []

    def add(
        self,
        signature: str,
        doc: str,
        example: str,
        result: object,
        *,
        impure: bool = False,
        constant_time: bool = False,
        aliases: tuple[str, ...] = (),
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Declare the decorated function; each alias becomes a row of its own."""
        found = _SIGNATURE.fullmatch(signature)
        assert found is not None, signature
        params, required, variadic = _params(found.group("params"))

        def declare(implementation: Callable[..., Any]) -> Callable[..., Any]:
            for name in (found.group("name"), *aliases):
                alias = name != found.group("name")
                about = FunctionDoc(
                    name=name,
                    group=self.group,
                    signature=name + signature[len(found.group("name")) :],
                    doc=f"The same as `{found.group('name')}`." if alias else doc,
                    example=example,
                    result=result,
                    impure=impure,
                )
                self.functions.append(
                    Function(
                        about=about,
                        params=params,
                        required=required,
                        variadic=variadic,
                        constant_time=constant_time,
                        implementation=implementation,
                    )
                )
            return implementation

        return declare


def _params(text: str) -> tuple[tuple[Param, ...], int, bool]:
    params: list[Param] = []
    required, variadic = 0, False
    for part in text.split(", ") if text else ():
        found = _PARAM.fullmatch(part)
        assert found is not None, part
        types = tuple(found.group("types").split("|"))
        params.append(Param(name=found.group("name"), types=types, kinds=_kinds(types)))
        required += found.group("mark") is None
        variadic = found.group("mark") == "..."
    return tuple(params), required, variadic


def _kinds(types: tuple[str, ...]) -> frozenset[type] | None:
    if types == ("any",):
        return None
    if types == ("value",):
        return _VALUE
    return frozenset(kind for name in types for kind in _TYPES[name])
