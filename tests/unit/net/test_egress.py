"""The egress rule by itself: addresses are data here, nothing is ever sent to them."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue.errors import RequestError
from segue.net.addresses import AddressKind, every_form, kind_of, parse_address
from segue.net.egress import EgressPolicy, parse_allow

NEVER = [
    "169.254.169.254", "169.254.0.1", "169.254.170.2", "100.100.100.200", "192.0.0.192", "168.63.129.16", "0.0.0.0",
    "0.1.2.3", "224.0.0.1", "239.255.255.250", "255.255.255.255", "fe80::1", "fe80::1%eth0", "febf::1", "fd00:ec2::254",
    "fd00:ec2::23", "fd20:ce::254", "fd00:42::42", "::", "ff02::1",
]  # fmt: skip
EMBEDDED_METADATA = [
    "::ffff:169.254.169.254", "::ffff:a9fe:a9fe", "::169.254.169.254", "2002:a9fe:a9fe::1", "64:ff9b::169.254.169.254",
    "64:ff9b:1::169.254.169.254", "64:ff9b:1:a9fe:a9:fe00::", "2001:db8::5efe:169.254.169.254",
    "2a00::200:5efe:a9fe:a9fe", "2001:0:a9fe:a9fe::1", "2001:0:102:304:0:0:5601:5601",
]  # fmt: skip
PRIVATE = [
    "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1", "192.0.2.1", "198.18.0.1", "203.0.113.9",
    "240.0.0.1", "fc00::1", "fdff::1", "fec0::1", "2001:db8::1", "3fff::1", "5f00::1", "100::1", "64:ff9b::10.0.0.1",
    "2002:0a00:0001::1", "::ffff:10.0.0.1",
]  # fmt: skip
PUBLIC = ["8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "64:ff9b::8.8.8.8", "::ffff:8.8.8.8"]
POLICIES = {
    "local": EgressPolicy.local(),
    "local, all allowed": EgressPolicy.local(["0.0.0.0/0", "::/0", "named.test", "*.test"]),
    "server": EgressPolicy.server(),
    "server, all allowed": EgressPolicy.server(["0.0.0.0/0", "::/0", "named.test", "*.test"], loopback=True),
}


def is_refused(policy: EgressPolicy, address: str, *, host: str = "named.test", scheme: str = "https") -> bool:
    return policy.refusal(host=host, address=address, scheme=scheme) is not None


@pytest.mark.req("ACC-6.metadata")
@pytest.mark.parametrize("address", NEVER + EMBEDDED_METADATA)
@pytest.mark.parametrize("name", POLICIES)
def test_metadata_and_link_local_addresses_are_refused_under_every_policy(name: str, address: str) -> None:
    refusal = POLICIES[name].refusal(host="named.test", address=address, scheme="https")
    assert refusal is not None
    assert refusal.remedy == "No setting allows this."


@pytest.mark.req("ACC-6.private")
@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_are_refused_on_a_server_and_open_on_ones_own_machine(address: str) -> None:
    assert is_refused(EgressPolicy.server(), address)
    assert is_refused(EgressPolicy.server(loopback=True), address)
    assert not is_refused(EgressPolicy.local(), address)
    assert not is_refused(EgressPolicy.local(), address, scheme="http")


@pytest.mark.req("ACC-6.private")
@pytest.mark.parametrize("address", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "64:ff9b::127.0.0.1"])
def test_loopback_is_open_only_where_the_policy_says_so(address: str) -> None:
    assert is_refused(EgressPolicy.server(), address)
    for policy in (EgressPolicy.server(loopback=True), EgressPolicy.local()):
        assert not is_refused(policy, address)
        assert not is_refused(policy, address, scheme="http")


@pytest.mark.req("ACC-6.plain-http")
@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_open_over_https_and_over_plain_http_only_when_allowed(address: str) -> None:
    for policy in (EgressPolicy.server(), EgressPolicy.local()):
        assert not is_refused(policy, address)
        refusal = policy.refusal(host="named.test", address=address, scheme="http")
        assert refusal is not None
        assert "Use https, or add named.test to SEGUE_EGRESS_ALLOW." in refusal.remedy
    assert not is_refused(EgressPolicy.server(["named.test"]), address, scheme="http")
    assert not is_refused(EgressPolicy.local(["named.test"]), address, scheme="http")


@pytest.mark.req("ACC-6.allow-list")
def test_allow_list_opens_hosts_suffixes_addresses_and_networks_and_nothing_beside_them() -> None:
    policy = EgressPolicy.server(parse_allow("db.internal, *.corp.test 10.1.0.0/16,192.168.7.7 fd12::/32"))
    allowed = [
        ("db.internal", "10.9.9.9"), ("DB.Internal.", "10.9.9.9"), ("a.b.corp.test", "192.168.1.1"), ("x", "10.1.2.3"),
        ("x", "192.168.7.7"), ("x", "fd12::5"), ("x", "::ffff:10.1.2.3"),
    ]  # fmt: skip
    refused = [
        ("db.internal.evil.test", "10.9.9.9"), ("xcorp.test", "10.9.9.9"), ("corp.test", "10.9.9.9"), ("x", "10.2.0.1"),
        ("x", "192.168.7.8"), ("x", "fd13::1"), ("db.internal", "169.254.169.254"),
    ]  # fmt: skip
    for host, address in allowed:
        assert not is_refused(policy, address, host=host, scheme="http"), (host, address)
    for host, address in refused:
        assert is_refused(policy, address, host=host), (host, address)


@pytest.mark.req("ACC-6.allow-list")
@pytest.mark.parametrize(
    "text",
    ["https://db.internal", "db.internal:5432", "10.0.0", "300.1.1.1", "10.0.0.0/40", "a..b", "-a.test",
     "169.254.169.254", "fe80::/12 fe80::/10", "fd00:ec2::254/128", "*"],
)  # fmt: skip
def test_allow_entries_that_mean_something_else_or_nothing_are_refused_at_start(text: str) -> None:
    with pytest.raises(RequestError, match="SEGUE_EGRESS_ALLOW"):
        EgressPolicy.server(parse_allow(text))


@pytest.mark.req("ACC-6.allow-list")
def test_an_empty_setting_allows_nothing() -> None:
    assert parse_allow("") == ()
    assert parse_allow(" , ") == ()


@pytest.mark.req("ACC-6.private")
def test_a_refusal_names_the_setting_but_not_the_address_that_a_name_resolved_to() -> None:
    refusal = EgressPolicy.server().refusal(host="db.internal", address="10.3.4.5", scheme="https")
    assert refusal is not None
    assert refusal.remedy == "If it is meant to be called, add db.internal to SEGUE_EGRESS_ALLOW."
    assert "10.3.4.5" not in refusal.reason + refusal.remedy


@pytest.mark.req("ACC-6.private")
def test_what_is_no_address_is_refused() -> None:
    assert is_refused(POLICIES["local, all allowed"], "localhost")


@pytest.mark.req("ACC-6.metadata")
@given(st.ip_addresses(v=4))
def test_every_way_to_write_an_ipv4_address_in_ipv6_is_judged_at_least_as_strictly(inner: IPv4Address) -> None:
    bits = int(inner)
    wrapped = [
        IPv6Address((0xFFFF << 32) | bits),  # mapped
        IPv6Address((0x2002 << 112) | (bits << 80) | 1),  # 6to4
        IPv6Address((0x0064FF9B << 96) | bits),  # NAT64
        IPv6Address((0x20010000 << 96) | (bits ^ 0xFFFFFFFF)),  # Teredo client
        IPv6Address((0x2A00 << 112) | (0x5EFE << 32) | bits),  # ISATAP
    ]
    for address in wrapped:
        assert inner in every_form(address)
        strictest = max(kind_of(form)[0] for form in every_form(address))
        assert strictest >= kind_of(inner)[0]
        for policy in POLICIES.values():
            if is_refused(policy, str(inner), host="1.2.3.4"):
                assert is_refused(policy, str(address), host="1.2.3.4")


@pytest.mark.req("ACC-6.metadata")
@given(st.ip_addresses())
def test_every_address_has_a_kind_and_never_wins_over_any_allow_list(address: IPv4Address | IPv6Address) -> None:
    parsed = parse_address(f"[{address}]")
    assert parsed == address
    is_never = any(kind_of(form)[0] is AddressKind.NEVER for form in every_form(address))
    assert is_refused(POLICIES["server, all allowed"], str(address)) == is_never
