"""What kind of place an IP address is: never to be called, this machine, a private network, or the public internet.

The tables are written out instead of asking `ipaddress.is_private`, whose answers changed between Python releases.
Sources: IANA IPv4 and IPv6 Special-Purpose Address Registries (RFC 6890), and the providers' pages on instance
metadata.

An IPv6 address can carry an IPv4 address that the packet ends up at (IPv4-mapped, 6to4, NAT64, Teredo, ISATAP): each
such address is judged as well, and the strictest answer counts. Without that, `64:ff9b::a9fe:a9fe` would be a door to
the metadata service of any machine behind a NAT64 gateway.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


class AddressKind(IntEnum):
    """Ordered from open to closed, so that `max` is the strictest."""

    PUBLIC = 0
    PRIVATE = 1
    """Private, shared, documentation, benchmark and reserved ranges: everything that is not the public internet."""
    LOOPBACK = 2
    NEVER = 3
    """No setting opens it: metadata services, link-local, unspecified, multicast, broadcast."""


def _networks(*texts: str) -> tuple[Network, ...]:
    return tuple(ip_network(text) for text in texts)


# No call of a flow has business there; each has led to stolen machine credentials or to a loop back into the host.
_NEVER: Final[tuple[tuple[str, tuple[Network, ...]], ...]] = (
    (
        "a cloud metadata address",
        _networks(
            "169.254.169.254/32",  # AWS, Azure, Google Cloud, DigitalOcean, Oracle, OpenStack
            "169.254.170.2/32",  # AWS container credentials
            "169.254.170.23/32",  # AWS EKS pod identity
            "100.100.100.200/32",  # Alibaba Cloud
            "192.0.0.192/32",  # Oracle Cloud classic
            "168.63.129.16/32",  # Azure WireServer
            "fd00:ec2::/32",  # AWS: ::254 metadata, ::23 pod identity, ::253 resolver
            "fd20:ce::254/128",  # Google Cloud
            "fd00:42::42/128",  # Scaleway
        ),
    ),
    ("a link-local address", _networks("169.254.0.0/16", "fe80::/10")),
    ("an unspecified address", _networks("0.0.0.0/8", "::/128")),  # Linux connects 0.0.0.0 to itself
    ("a multicast address", _networks("224.0.0.0/4", "ff00::/8")),
    ("a broadcast address", _networks("255.255.255.255/32")),
)
_LOOPBACK: Final = _networks("127.0.0.0/8", "::1/128")
_PRIVATE: Final = _networks(
    "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16",  # RFC 1918
    "100.64.0.0/10",  # RFC 6598, carrier-grade NAT
    "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
    "240.0.0.0/4",
    "2001::/23",  # IETF protocol assignments, with Teredo
    "2001:db8::/32", "3fff::/20",  # documentation
)  # fmt: skip
# All that IANA has given out for the internet. The rest (unique local, site-local, discard, SRv6, …) is not public.
_PUBLIC_V6: Final = _networks("2000::/3", "64:ff9b::/96")

_IPV4_COMPATIBLE: Final = IPv6Network("::/96")
_NAT64: Final = IPv6Network("64:ff9b::/96")
_NAT64_LOCAL: Final = IPv6Network("64:ff9b:1::/48")
_ISATAP_INTERFACE_IDS: Final = frozenset({0x00005EFE, 0x02005EFE})


def parse_address(text: str) -> Address | None:
    """The address that `text` writes, without brackets and zone (`fe80::1%eth0`); None if it is a name."""
    try:
        return ip_address(text.strip("[]").partition("%")[0])
    except ValueError:
        return None


def every_form(address: Address) -> tuple[Address, ...]:
    """The address and every IPv4 address inside it. A mapped address is its IPv4 address only: the system connects to
    that.
    """
    if isinstance(address, IPv4Address):
        return (address,)
    if address.ipv4_mapped is not None:
        return (address.ipv4_mapped,)
    bits = int(address)
    inside: list[IPv4Address] = []
    if address.sixtofour is not None:
        inside.append(address.sixtofour)
    if address.teredo is not None:
        inside += address.teredo
    if address in _NAT64 or (address in _IPV4_COMPATIBLE and bits > 1):
        inside.append(IPv4Address(bits & 0xFFFFFFFF))
    if address in _NAT64_LOCAL:
        # RFC 6052, section 2.2: an operator may cut this prefix at /48, /56, /64 or /96; all readings are judged.
        inside += [IPv4Address(value) for value in _rfc6052_readings(bits)]
    if (bits >> 32) & 0xFFFFFFFF in _ISATAP_INTERFACE_IDS:
        inside.append(IPv4Address(bits & 0xFFFFFFFF))
    return (address, *inside)


def _rfc6052_readings(bits: int) -> Sequence[int]:
    # Bits 64 to 71 ("u") are always zero and are skipped; counted from the most significant bit.
    upper, lower = bits >> 64, bits & ((1 << 64) - 1)
    after_u = lower & ((1 << 56) - 1)
    return (
        ((upper & 0xFFFF) << 16) | (after_u >> 40),  # /48: 16 bits before u, 16 after
        ((upper & 0xFF) << 24) | (after_u >> 32),  # /56: 8 before, 24 after
        after_u >> 24,  # /64: 32 after
        bits & 0xFFFFFFFF,  # /96
    )


def kind_of(address: Address) -> tuple[AddressKind, str]:
    """The kind of one address by itself (forms not followed), and the words for it."""
    for words, networks in _NEVER:
        if any(address in network for network in networks):
            return AddressKind.NEVER, words
    if any(address in network for network in _LOOPBACK):
        return AddressKind.LOOPBACK, "a loopback address"
    if any(address in network for network in _PRIVATE):
        return AddressKind.PRIVATE, "a private or reserved address"
    if isinstance(address, IPv6Address) and not any(address in network for network in _PUBLIC_V6):
        return AddressKind.PRIVATE, "a private or reserved address"
    return AddressKind.PUBLIC, "a public address"


def is_never_allowed(network: Network) -> bool:
    """Whether a whole network lies in what no setting may open."""
    for _, forbidden in _NEVER:
        for closed in forbidden:
            if isinstance(network, IPv4Network) and isinstance(closed, IPv4Network) and network.subnet_of(closed):
                return True
            if isinstance(network, IPv6Network) and isinstance(closed, IPv6Network) and network.subnet_of(closed):
                return True
    return False
