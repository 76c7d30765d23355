"""Network addresses, such as for a list of senders that a webhook admits: `cidr('10.0.0.0/8').containsIP($trigger.ip)`.

Source: the network extension of CEL as Kubernetes has it (kubernetes.io/docs/reference/using-api/cel, "IP address
library" and "CIDR library"). Nothing here looks a name up or opens a connection.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv6Address, ip_address, ip_interface
from typing import Any, Final

from segue.expr.errors import ExprEvalError
from segue.expr.frame import Frame
from segue.expr.library.table import Table
from segue.expr.types import Cidr, IpAddress

NETWORK: Final = Table("network")
_TEXT_CHARS_MAX: Final = 64
"""Longer than any address with its prefix length (49 characters); longer texts are refused unread."""


def _refused(what: str) -> ExprEvalError:
    return ExprEvalError(
        "EXP106",
        f"the text is not {what}",
        suggestion="addresses have no zone (`%eth0`), and IPv4 ones are written as such, not as `::ffff:1.2.3.4`",
    )


def _readable(text: str) -> bool:
    return len(text) <= _TEXT_CHARS_MAX and text.isascii() and "%" not in text and not (":" in text and "." in text)


def _parsed_ip(text: str) -> IpAddress:
    try:
        found = ip_address(text) if _readable(text) else None
    except ValueError:
        found = None
    if found is None:
        raise _refused("an IP address")
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return IpAddress(mapped or found)


def _parsed_cidr(text: str) -> Cidr:
    prefix = text.partition("/")[2]
    try:
        found = ip_interface(text) if _readable(text) and prefix.isdigit() else None
    except ValueError:
        found = None
    if found is None:
        raise _refused("a network such as `10.0.0.0/8`")
    return Cidr(found)


def _is(parse: Callable[[str], object], text: str) -> bool:
    try:
        parse(text)
    except ExprEvalError:
        # That the text is none is the answer.
        return False
    return True


@NETWORK.add(
    "ip(of: string|cidr) -> ip", "The IP address in the text, or of the network.", "ip('192.168.0.1')", "192.168.0.1"
)
def _ip(frame: Frame, of: Any) -> IpAddress:
    return IpAddress(of.interface.ip) if isinstance(of, Cidr) else _parsed_ip(of)


@NETWORK.add("cidr(text: string) -> cidr", "The network in the text.", "cidr('10.1.2.3/8').masked()", "10.0.0.0/8")
def _cidr(frame: Frame, text: str) -> Cidr:
    return _parsed_cidr(text)


@NETWORK.add("isIP(text: string) -> bool", "Whether the text is an IP address.", "isIP('10.0.0.256')", False)
def _is_ip(frame: Frame, text: str) -> bool:
    return _is(_parsed_ip, text)


@NETWORK.add("isCIDR(text: string) -> bool", "Whether the text is a network.", "isCIDR('10.0.0.0/8')", True)
def _is_cidr(frame: Frame, text: str) -> bool:
    return _is(_parsed_cidr, text)


@NETWORK.add(
    "ip.isCanonical(text: string) -> bool",
    "Whether the address is written in its usual, shortest form.",
    "ip.isCanonical('2001:DB8::68')",
    False,
)
def _is_canonical(frame: Frame, text: str) -> bool:
    return str(_parsed_ip(text).address) == text


@NETWORK.add("family(of: ip) -> int", "4 or 6.", "ip('::1').family()", 6, constant_time=True)
def _family(frame: Frame, of: IpAddress) -> int:
    return of.address.version


@NETWORK.add(
    "isUnspecified(of: ip) -> bool", "`0.0.0.0` or `::`.", "ip('::').isUnspecified()", True, constant_time=True
)
def _is_unspecified(frame: Frame, of: IpAddress) -> bool:
    return of.address.is_unspecified


@NETWORK.add(
    "isLoopback(of: ip) -> bool", "One of the own machine.", "ip('127.0.0.1').isLoopback()", True, constant_time=True
)
def _is_loopback(frame: Frame, of: IpAddress) -> bool:
    return of.address.is_loopback


@NETWORK.add(
    "isLinkLocalUnicast(of: ip) -> bool",
    "One of the own link, such as `fe80::1`.",
    "ip('fe80::1').isLinkLocalUnicast()",
    True,
    constant_time=True,
)
def _is_link_local(frame: Frame, of: IpAddress) -> bool:
    return of.address.is_link_local


_LINK_LOCAL_MULTICAST: Final = tuple(ip_interface(text).network for text in ("224.0.0.0/24", "ff02::/16"))


@NETWORK.add(
    "isLinkLocalMulticast(of: ip) -> bool",
    "A group of the own link, such as `ff02::1`.",
    "ip('224.0.0.1').isLinkLocalMulticast()",
    True,
    constant_time=True,
)
def _is_link_local_multicast(frame: Frame, of: IpAddress) -> bool:
    return any(of.address in network for network in _LINK_LOCAL_MULTICAST)


@NETWORK.add(
    "isGlobalUnicast(of: ip) -> bool",
    "One host beyond the own link; private networks included, as in Go.",
    "ip('192.168.0.1').isGlobalUnicast()",
    True,
    constant_time=True,
)
def _is_global_unicast(frame: Frame, of: IpAddress) -> bool:
    address = of.address
    special = address.is_unspecified or address.is_loopback or address.is_multicast or address.is_link_local
    return not special and str(address) != "255.255.255.255"


@NETWORK.add(
    "containsIP(network: cidr, address: ip|string) -> bool",
    "Whether the address is in the network.",
    "cidr('10.0.0.0/8').containsIP('10.1.2.3')",
    True,
)
def _contains_ip(frame: Frame, network: Cidr, address: Any) -> bool:
    found = _parsed_ip(address) if isinstance(address, str) else address
    return found.address in network.interface.network


@NETWORK.add(
    "containsCIDR(network: cidr, other: cidr|string) -> bool",
    "Whether the whole other network is in the network.",
    "cidr('10.0.0.0/8').containsCIDR('10.1.0.0/16')",
    True,
)
def _contains_cidr(frame: Frame, network: Cidr, other: Any) -> bool:
    inner: Any = (_parsed_cidr(other) if isinstance(other, str) else other).interface.network
    outer: Any = network.interface.network
    return bool(inner.version == outer.version and inner.subnet_of(outer))


@NETWORK.add(
    "masked(network: cidr) -> cidr",
    "With the bits of the host cleared.",
    "cidr('10.1.2.3/8').masked()",
    "10.0.0.0/8",
    constant_time=True,
)
def _masked(frame: Frame, network: Cidr) -> Cidr:
    return Cidr(ip_interface(str(network.interface.network)))


@NETWORK.add(
    "prefixLength(network: cidr) -> int",
    "How many bits name the network.",
    "cidr('10.0.0.0/8').prefixLength()",
    8,
    constant_time=True,
)
def _prefix_length(frame: Frame, network: Cidr) -> int:
    return network.interface.network.prefixlen
