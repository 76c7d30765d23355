"""The types of the language as Python sees them.

| language | Python | language | Python |
|---|---|---|---|
| int | `int` (64-bit range) | list | `list`, `tuple` |
| uint | `Uint` | map | `dict`, any `Mapping` |
| double | `float` | timestamp | `Timestamp` |
| string | `str` | duration | `Duration` |
| bytes | `bytes` | type | `TypeValue` |
| bool, null | `bool`, `None` | optional_type | `OptionalValue` |

JSON values are values of the language as they are: nothing is converted on the way in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface
from types import NoneType
from typing import Final

import msgspec

kind_of: Final[Callable[[object], type[object]]] = type
"""The exact Python type; under a name of its own, because checkers read more into `type(x)` than is meant."""

INT_MAX: Final = 2**63 - 1
INT_MIN: Final = -(2**63)
UINT_MAX: Final = 2**64 - 1


class Uint(int):
    """An unsigned 64-bit integer; a type of its own, since CEL does not mix it with int in arithmetic."""

    __slots__ = ()


class Timestamp(msgspec.Struct, frozen=True, order=True):
    """An instant: nanoseconds since 1970-01-01T00:00:00Z, within the years 1 to 9999 (google.protobuf.Timestamp)."""

    nanos: int


class Duration(msgspec.Struct, frozen=True, order=True):
    """A span of time in nanoseconds, within the int64 range (some 292 years either way)."""

    nanos: int


class TypeValue(msgspec.Struct, frozen=True):
    """A type as a value: what `type(x)` gives, and what `int`, `string`, … stand for."""

    name: str


class OptionalValue(msgspec.Struct, frozen=True):
    """A value that may be absent, and then is not null either (CEL's optional types, cel-spec proposal 246)."""

    present: bool
    value: object = None


class IpAddress(msgspec.Struct, frozen=True):
    """An IP address as a value of its own, so that two ways to write it are equal."""

    address: IPv4Address | IPv6Address


class Cidr(msgspec.Struct, frozen=True):
    """A network with its prefix length, and the address of it that was written (RFC 4632)."""

    interface: IPv4Interface | IPv6Interface


ABSENT: Final = OptionalValue(False)
"""The optional without a value: `optional.none()`."""


class BoolKey(Enum):
    """A boolean as a map key. Python takes True and 1 for the same key, CEL does not."""

    FALSE = False
    TRUE = True


TYPE_NAMES: Final[dict[type, str]] = {
    NoneType: "null_type",
    bool: "bool",
    int: "int",
    Uint: "uint",
    float: "double",
    str: "string",
    bytes: "bytes",
    list: "list",
    tuple: "list",
    dict: "map",
    Timestamp: "google.protobuf.Timestamp",
    Duration: "google.protobuf.Duration",
    TypeValue: "type",
    OptionalValue: "optional_type",
    IpAddress: "net.IP",
    Cidr: "net.CIDR",
}

DENOTATIONS: Final = frozenset(
    {"bool", "int", "uint", "double", "string", "bytes", "list", "map", "null_type", "type", "optional_type"}
)
"""Bare names that stand for a type."""

QUALIFIED_DENOTATIONS: Final = frozenset(
    {"google.protobuf.Timestamp", "google.protobuf.Duration", "net.IP", "net.CIDR"}
)


def type_name(value: object) -> str:
    """The CEL name of the value's type; of a foreign Python object its class name, for the message that refuses it."""
    name = TYPE_NAMES.get(type(value))
    if name is not None:
        return name
    if isinstance(value, Mapping):
        return "map"
    for known, known_name in TYPE_NAMES.items():
        if isinstance(value, known):
            return known_name
    return type(value).__name__


def spoken(value: object) -> str:
    """The type's name as messages say it."""
    name = type_name(value)
    return {"null_type": "null", "optional_type": "optional"}.get(name, name.rpartition(".")[2].lower())
