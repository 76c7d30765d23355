"""Sealed values: what is, holds or was computed from a secret. They compute like others and show as `***`.

A `Sealed` is a text `***`, so that whatever prints, compares or measures it without knowing it tells nothing; JSON
encoders that do not know it refuse it. Only here is it opened, and what an expression makes of it is sealed again: an
expression that read one gives one (null excepted, which tells nothing), while a plain reference passes values on as
they are, so that of a map only those fields stay sealed that were.

What is decided by a condition is not sealed: which way a run took is seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from segue.expr.errors import ExprError, ExprEvalError
from segue.expr.types import kind_of

if TYPE_CHECKING:
    from segue.expr.frame import Scope

MARK: Final = "$sealed:1"
"""The one key of the map that stands for a sealed value in JSON."""
SHOWN: Final = "***"


class Sealer(Protocol):
    """Encrypts the values of one workspace."""

    def seal(self, plain: object) -> str:
        """A JSON value as a text that nobody can read without the key."""
        ...

    def open(self, sealed: str) -> object:
        """The value. Raises an EngineError if its key is missing or the text was changed."""
        ...


class Sealed(str):
    """One sealed value. It is encrypted when it is first written down, and decrypted when it is first computed with."""

    __slots__ = ("_is_open", "_plain", "_sealer", "_text")
    _is_open: bool
    _plain: Any
    _sealer: Sealer | None
    _text: str | None

    def __new__(cls, sealer: Sealer | None, *, plain: object = None, text: str | None = None) -> Sealed:
        """Of a plain value; or, with `text`, of what `Sealer.seal` gave."""
        made = super().__new__(cls, SHOWN)
        made._sealer, made._plain, made._text, made._is_open = sealer, plain, text, text is None
        return made

    @property
    def sealer(self) -> Sealer | None:
        """What it is sealed by."""
        return self._sealer

    @property
    def text(self) -> str:
        """The value encrypted."""
        if self._text is None:
            assert self._sealer is not None
            self._text = self._sealer.seal(self._plain)
        return self._text

    @property
    def plain(self) -> Any:
        """The value itself. Raises an EngineError if it cannot be decrypted."""
        if not self._is_open:
            assert self._sealer is not None, "a value that was read without a key is only shown"
            self._plain = self._sealer.open(self.text)
            self._is_open = True
        return self._plain

    def __repr__(self) -> str:
        return SHOWN

    def __reduce__(self) -> str | tuple[Any, ...]:
        raise TypeError("a sealed value is not copied out of its process")

    def __deepcopy__(self, memo: object) -> Sealed:
        return self


class Box:
    """The sealed values of one run. `used`: there are some, so that expressions must look out for them.

    Without a `sealer` they cannot be written down. `opens`: what is read from a journal is opened at once, so that a
    damaged value is found there and not in the middle of a step.
    """

    __slots__ = ("opens", "sealer", "used")

    def __init__(self, sealer: Sealer | None, *, opens: bool = False) -> None:
        self.sealer = sealer
        self.opens = opens
        self.used = False

    def mark(self, plain: object) -> Sealed:
        """A value that is to be kept sealed."""
        self.used = True
        return Sealed(self.sealer, plain=plain)

    def adopt(self, value: object) -> None:
        """The run takes a value over that came sealed from elsewhere in its workspace."""
        self.used = self.used or holds_sealed(value)


def holds_sealed(value: object) -> bool:
    """Whether anything in a JSON value is sealed."""
    kind = type(value)
    if kind is Sealed:
        return True
    if kind is dict:
        value = cast("dict[object, object]", value).values()
    elif kind is not list and kind is not tuple:
        return False
    # One level without a generator: most values have no more.
    deeper = False
    for one in cast("Iterable[object]", value):
        kind = type(one)
        if kind is Sealed:
            return True
        deeper = deeper or kind is dict or kind is list or kind is tuple
    return deeper and next(sealed_in(list(cast("Iterable[object]", value))), None) is not None


def sealed_in(value: object) -> Iterator[Sealed]:
    """All that is sealed in a JSON value."""
    pending = [value]
    while pending:
        one = pending.pop()
        kind = type(one)
        if kind is Sealed:
            yield cast("Sealed", one)
        elif kind is dict:
            pending.extend(cast("dict[object, object]", one).values())
        elif kind is list or kind is tuple:
            pending.extend(cast("list[object]", one))


def opened(value: Any) -> Any:
    """A JSON value with everything in it decrypted; the same object if nothing is sealed. What comes of it must not be
    written down.
    """
    return _replaced(value, _plain_of)


def shown(value: Any) -> Any:
    """A JSON value with `***`, a plain text, for all that is sealed; the same object if nothing is."""
    return _replaced(value, _shown_of)


def spread(value: Any) -> Any:
    """A sealed list or map as one whose parts are sealed; anything else as it is."""
    if type(value) is not Sealed:
        return value
    sealer, plain = value.sealer, value.plain
    if isinstance(plain, dict):
        return {key: Sealed(sealer, plain=item) for key, item in cast("dict[str, object]", plain).items()}
    if isinstance(plain, list):
        return [Sealed(sealer, plain=item) for item in cast("list[object]", plain)]
    return value


def open_all(value: object) -> None:
    """Decrypt everything sealed in a JSON value. Raises an EngineError if something cannot be."""
    for one in sealed_in(value):
        _ = one.plain


def revived(value: Any, sealer: Sealer | None) -> Any:
    """A JSON value as it was before it was written: every map that stands for a sealed value is one again."""
    if isinstance(value, dict):
        found = cast("dict[str, Any]", value)
        text = found.get(MARK)
        if len(found) == 1 and isinstance(text, str):
            return Sealed(sealer, text=text)
        return {key: revived(item, sealer) for key, item in found.items()}
    if isinstance(value, list):
        return [revived(item, sealer) for item in cast("list[Any]", value)]
    return value


def as_json(value: object) -> object:
    """For JSON encoders (`enc_hook`) of what is kept: a sealed value as the map that stands for it."""
    if isinstance(value, Sealed):
        return {MARK: value.text}
    raise TypeError(f"an object of type {type(value).__name__} is no JSON")


class MarkedScope:
    """A scope in whose values some are sealed; programs evaluate in it as the module's text says."""

    __slots__ = ("box", "inner")

    def __init__(self, inner: Scope, box: Box) -> None:
        self.inner = inner
        self.box = box

    def lookup(self, name: str, /) -> object:
        """As it is, sealed values and all."""
        return self.inner.lookup(name)


class Reading:
    """A scope for one evaluation that opens what is read, and remembers that it did."""

    __slots__ = ("_inner", "tainted")

    def __init__(self, inner: Scope) -> None:
        self._inner = inner
        self.tainted = False

    def lookup(self, name: str, /) -> object:
        """With views in the place of maps, which open what is taken from them."""
        return self.seen(self._inner.lookup(name))

    def seen(self, value: object) -> object:
        """What an expression sees of a value."""
        kind = type(value)
        if kind is Sealed:
            self.tainted = True
            return cast("Sealed", value).plain
        if kind is dict:
            return _View(cast("dict[str, object]", value), self)
        if kind is list or kind is tuple:
            items = cast("list[object]", value)
            return [self.seen(item) for item in items] if holds_sealed(items) else items
        return value


class OpenReading(Reading):
    """The same for conditions and queries, whose result is seen anyway: maps are opened whole."""

    __slots__ = ()

    def seen(self, value: object) -> object:
        """Everything open."""
        plain = opened(value)
        self.tainted = self.tainted or plain is not value
        return plain


class _View(Mapping[str, object]):
    __slots__ = ("raw", "reading")

    def __init__(self, raw: dict[str, object], reading: Reading) -> None:
        self.raw = raw
        self.reading = reading

    def __getitem__(self, key: str) -> object:
        return self.reading.seen(self.raw[key])

    def __contains__(self, key: object) -> bool:
        return key in self.raw

    def __iter__(self) -> Iterator[str]:
        return iter(self.raw)

    def __len__(self) -> int:
        return len(self.raw)


def marked(scope: MarkedScope, evaluate: Callable[[Reading], object]) -> object:
    """What an evaluation gives, sealed if it read something that is. Raises its ExprError without a quoted value."""
    reading = Reading(scope.inner)
    try:
        value = _left(evaluate(reading))
    except ExprError as error:
        raise (blurred(error) if reading.tainted else error) from None
    return value if value is None or not reading.tainted else scope.box.mark(opened(value))


def _left(value: Any) -> Any:
    """A result with the maps that were behind views."""
    if type(value) is _View:
        return value.raw
    if type(value) is dict:
        return {key: _left(item) for key, item in cast("dict[Any, Any]", value).items()}
    if type(value) is list:
        return [_left(item) for item in cast("list[Any]", value)]
    return value


def blurred(error: ExprError) -> ExprEvalError:
    """The error of an expression that had read something sealed: its words may quote it."""
    made = ExprEvalError(
        error.code, "the expression failed on a value that is kept secret", start=error.start, end=error.end
    )
    made.path = error.path
    return made


def _plain_of(sealed: Sealed) -> Any:
    return sealed.plain


def _shown_of(_: Sealed) -> Any:
    return SHOWN


def _replaced(value: Any, by: Callable[[Sealed], Any]) -> Any:
    kind = kind_of(value)
    if kind is Sealed:
        return by(value)
    if kind is dict:
        made = {key: _replaced(item, by) for key, item in value.items()}
        return made if any(made[key] is not item for key, item in value.items()) else value
    if kind is list or kind is tuple:
        items = [_replaced(item, by) for item in value]
        return items if any(one is not other for one, other in zip(items, value, strict=True)) else value
    return value
