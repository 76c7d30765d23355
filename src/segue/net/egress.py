"""Where outgoing calls may go. The rule is pure: host, final address and scheme in; a refusal or None out.

It is asked once for each connection, with the address that is really being connected to (after DNS, at every
redirect), and never with a name alone: a name may resolve to something else the second time.

- Metadata, link-local, multicast, broadcast and unspecified addresses: never, and no setting opens them.
- Loopback and private addresses: as the policy says, or when host or address is in the allow list.
- Plain `http`: only to places that are allowed in that way. Public places need `https`, or an entry in the allow
list.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_network
from typing import Final

import msgspec

from segue.errors import RequestError
from segue.net.addresses import Address, AddressKind, Network, every_form, is_never_allowed, kind_of, parse_address

ALLOW_SETTING: Final = "SEGUE_EGRESS_ALLOW"
# A list that a person keeps by hand; longer ones are a mistake in the setting, not a policy.
ALLOW_ENTRIES_MAX: Final = 1000


class EgressRefusal(msgspec.Struct, frozen=True, kw_only=True):
    """Why a call may not go out (`reason`, a clause) and what would let it (`remedy`, a sentence)."""

    reason: str
    remedy: str


class EgressPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """What outgoing calls may reach. Made by `local` or `server`."""

    loopback: bool
    private: bool
    hosts: frozenset[str] = frozenset()
    """Allowed names, lower-case."""
    suffixes: tuple[str, ...] = ()
    """Allowed endings, from `*.corp.example`, each with its leading dot."""
    networks: tuple[Network, ...] = ()

    @classmethod
    def local(cls, allow: Sequence[str] = ()) -> EgressPolicy:
        """For `segue run`, `segue test` and embedded use: one person's own machine and network are open."""
        return cls._with(allow, loopback=True, private=True)

    @classmethod
    def server(cls, allow: Sequence[str] = (), *, loopback: bool = False) -> EgressPolicy:
        """For a server: only public places over https, and what `allow` names. `loopback` is for `make run`."""
        return cls._with(allow, loopback=loopback, private=False)

    @classmethod
    def _with(cls, allow: Sequence[str], *, loopback: bool, private: bool) -> EgressPolicy:
        hosts: set[str] = set()
        suffixes: list[str] = []
        networks: list[Network] = []
        for entry in allow:
            match _entry(entry):
                case str(name) if name.startswith("*."):
                    suffixes.append(name[1:])
                case str(name):
                    hosts.add(name)
                case network:
                    networks.append(network)
        return cls(
            loopback=loopback,
            private=private,
            hosts=frozenset(hosts),
            suffixes=tuple(suffixes),
            networks=tuple(networks),
        )

    def refusal(self, *, host: str, address: str, scheme: str) -> EgressRefusal | None:
        """Whether a connection for `host` to the numeric `address` is refused. None: it may be made."""
        final = parse_address(address)
        if final is None:
            return EgressRefusal(reason="its address cannot be read", remedy="Use a host name or a plain IP address.")
        forms = every_form(final)
        kind, words = max(kind_of(form) for form in forms)
        if kind is AddressKind.NEVER:
            return EgressRefusal(reason=f"it leads to {words}", remedy="No setting allows this.")
        named = self._names(host)
        if not named and not all(self._opens(form) for form in forms):
            return EgressRefusal(
                reason=f"it leads to {words}", remedy=f"If it is meant to be called, add {host} to {ALLOW_SETTING}."
            )
        if scheme == "http" and not named and not any(self._opens_plain_http(form) for form in forms):
            return EgressRefusal(
                reason="plain http to a public address can be read and changed on its way",
                remedy=f"Use https, or add {host} to {ALLOW_SETTING}.",
            )
        return None

    def _names(self, host: str) -> bool:
        name = normalise_host(host)
        return name in self.hosts or name.endswith(self.suffixes)

    def _opens(self, address: Address) -> bool:
        return kind_of(address)[0] is AddressKind.PUBLIC or self._opens_plain_http(address)

    def _opens_plain_http(self, address: Address) -> bool:
        kind, _ = kind_of(address)
        return (
            (kind is AddressKind.LOOPBACK and self.loopback)
            or (kind is AddressKind.PRIVATE and self.private)
            or any(address in network for network in self.networks)
        )


def normalise_host(host: str) -> str:
    """The form in which host names are compared: lower-case ASCII (RFC 5891 for others), no trailing dot, no
    brackets. Raises ValueError for what cannot be a host.
    """
    plain = host.strip("[]").rstrip(".").lower()
    if plain.isascii():
        return plain
    from yarl import URL  # noqa: PLC0415 - 10 ms that a start without a call outside need not wait for

    return URL.build(scheme="https", host=plain).raw_host or plain  # the very form that requests get


def parse_allow(text: str) -> tuple[str, ...]:
    """The entries of SEGUE_EGRESS_ALLOW: host names, `*.domain`, addresses and networks, by comma or blank.

    Raises RequestError for an entry that cannot be read, or that names only what is never allowed, so that a server
    does not start with a setting that means something else than was written.
    """
    entries = tuple(text.replace(",", " ").split())
    if len(entries) > ALLOW_ENTRIES_MAX:
        raise RequestError(f"{ALLOW_SETTING} has more than {ALLOW_ENTRIES_MAX} entries; name networks instead")
    for entry in entries:
        _entry(entry)
    return entries


def _entry(entry: str) -> str | Network:
    try:
        network = ip_network(entry.strip("[]"), strict=False)
    except ValueError:
        return _host_entry(entry)
    if is_never_allowed(network):
        raise RequestError(f"{ALLOW_SETTING}: {entry} is a metadata, link-local or multicast address and never allowed")
    return network


def _host_entry(entry: str) -> str:
    try:
        name = normalise_host(entry)
    except ValueError as error:
        raise RequestError(f"{ALLOW_SETTING}: {entry!r} is not a host name") from error
    labels = name.removeprefix("*.").split(".")
    # A last label of digits is an address that was mistyped (10.0.0), never a name (RFC 1123, section 2.1).
    if labels[-1].isdigit() or not all(_is_label(label) for label in labels):
        raise RequestError(
            f"{ALLOW_SETTING}: {entry!r} is not a host name, *.domain, address or network "
            "(write hosts without scheme, port and path)"
        )
    return name


def _is_label(label: str) -> bool:
    letters = label.replace("-", "").replace("_", "")
    return 1 <= len(label) <= 63 and letters.isalnum() and not label.startswith("-") and not label.endswith("-")
