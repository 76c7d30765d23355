"""No secret may pass, in whatever form; and what is none should stay readable."""

from __future__ import annotations

import base64
import html
import json
import time
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue.observe.masking import DEPTH_MAX, MASK, Masker

SECRET = 'p@ss/w"o rd\u00e9+x'


@pytest.mark.req("ACC-5.names")
@pytest.mark.parametrize(
    "name",
    ["Authorization", "proxy-authorization", "Cookie", "SET_COOKIE", "X-API-Key", "x_api_key", "xApiKey", "password",
     "db_password", "client-secret", "githubToken", "refresh.token", "private_key", "AWS_SECRET_ACCESS_KEY",
     "credentials"],
)  # fmt: skip
def test_sensitive_names_are_known_in_every_spelling(name: str) -> None:
    assert Masker().is_sensitive(name)
    assert Masker().mask_json({"a": [{name: "x"}]}) == {"a": [{name: MASK}]}


@pytest.mark.req("ACC-5.names")
@pytest.mark.parametrize(
    "name",
    ["author", "tokens", "total_tokens", "max_tokens", "next_page_token", "nextToken", "keyboard", "secretary",
     "passport",
     "monkey", "id", "key", "cookies_accepted", "authorized", "token_type", "spin"],
)  # fmt: skip
def test_names_that_only_look_similar_stay_readable(name: str) -> None:
    document = {name: "value"}
    assert Masker().mask_json(document) is document


@pytest.mark.req("ACC-5.names")
def test_names_can_be_added_and_a_masker_is_not_changed_by_it() -> None:
    masker = Masker()
    more = masker.with_names(["IBAN-number"])
    assert more.mask_json({"iban_number": "DE1"}) == {"iban_number": MASK}
    assert masker.mask_json({"iban_number": "DE1"}) == {"iban_number": "DE1"}
    assert more.with_values(["abcd"]).with_rules(["email"]).is_sensitive("ibannumber")


@pytest.mark.req("ACC-5.names")
def test_a_sensitive_name_hides_whole_structures_but_not_null_and_booleans() -> None:
    document = {"credentials": {"user": "u", "list": [1]}, "token": None, "password": True, "pin": 1234, "secret": ""}
    assert Masker().mask_json(document) == {
        "credentials": MASK, "token": None, "password": True, "pin": MASK, "secret": MASK,
    }  # fmt: skip


@pytest.mark.req("ACC-5.values")
@pytest.mark.parametrize(
    "shown",
    [
        SECRET,
        quote(SECRET, safe=""),
        quote(SECRET),
        quote_plus(SECRET),
        quote(SECRET, safe="")
        .replace("%2F", "%2f")
        .replace("%40", "%40")
        .replace("%C3%A9", "%c3%a9")
        .replace("%2B", "%2b"),
        json.dumps(SECRET),
        json.dumps(SECRET, ensure_ascii=False),
        json.dumps(SECRET).replace("/", "\\/"),
        base64.b64encode(SECRET.encode()).decode(),
        base64.urlsafe_b64encode(SECRET.encode()).decode().rstrip("="),
        SECRET.encode().hex(),
        SECRET.encode().hex().upper(),
        SECRET.encode().hex(":"),
        "".join(f"%{byte:02X}" for byte in SECRET.encode()),
        "".join(f"\\x{byte:02x}" for byte in SECRET.encode()),
        html.escape(SECRET),
        json.dumps(json.dumps({"a": SECRET})),
        json.dumps(json.dumps({"a": SECRET}, ensure_ascii=False)),
    ],
)
def test_a_registered_value_is_found_in_each_of_its_forms(shown: str) -> None:
    masker = Masker(values=[SECRET])
    assert MASK in masker.mask_values(f"before {shown} after")
    assert shown not in masker.mask_values(f"before {shown} after")
    document = {"list": [{"note": f"it was {shown}."}], f"key {shown}": 1}
    assert shown not in str(masker.mask_json(document))


@pytest.mark.req("ACC-5.values")
@given(
    secret=st.text(st.characters(codec="utf-8"), min_size=12, max_size=40),
    before=st.text(max_size=20),
    after=st.text(max_size=20),
)
def test_a_value_inside_any_text_or_any_longer_base64_does_not_pass(secret: str, before: str, after: str) -> None:
    masker = Masker(values=[secret])
    assert secret not in masker.mask_text(before + secret + after)
    assert secret not in masker.mask_json([{"k": before + secret + after}])[0]["k"]  # pyright: ignore[reportIndexIssue]
    encoded = base64.b64encode((before + secret + after).encode()).decode()
    assert MASK in masker.mask_text(encoded)
    # The longest run of the encoding that depends on the secret alone is gone.
    skipped = (-len(before.encode())) % 3
    own = base64.b64encode(secret.encode()[skipped:]).decode()[: (len(secret.encode()) - skipped) // 3 * 4]
    assert own not in masker.mask_text(encoded)


@pytest.mark.req("ACC-5.values")
def test_values_that_overlap_leave_no_rest_behind() -> None:
    masker = Masker(values=["abcdef", "defghi", "abcd"])
    assert masker.mask_text("xabcdefghiy abcd") == f"x{MASK}y {MASK}"
    assert Masker(values=["aaaa"]).mask_text("baaaaaab") == f"b{MASK}b"


@pytest.mark.req("ACC-5.values")
def test_numbers_equal_to_a_registered_value_are_hidden_and_short_values_are_not_looked_for() -> None:
    assert Masker(values=["123456"]).mask_json({"n": [123456, 1234567]}) == {"n": [MASK, 1234567]}
    document = {"a": "abc 1", "b": 1}
    assert Masker(values=["1", "abc", ""]).mask_json(document) is document


@pytest.mark.req("ACC-5.values")
def test_a_key_of_many_lines_is_found_line_by_line() -> None:
    lines = ["-----BEGIN KEY-----", "MIIEvQIBADANBgkqhkiG9w0B", "AQEFAASCBKcwggSjAgEAAoIB"]
    assert Masker(values=["\n".join(lines)]).mask_text(f"log: {lines[1]}") == f"log: {MASK}"


@pytest.mark.req("ACC-5.urls")
@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://user:pw@h.test/p?a=1", "https://***@h.test/p?a=1"),
        ("postgres://u:p@ss@h/db?sslmode=on&password=q", "postgres://***@h/db?sslmode=on&password=***"),
        ("https://h/?access_token=abc&page=2#id_token=xyz", "https://h/?access_token=***&page=2#id_token=***"),
        ("https://h/?X-Amz-Signature=ab&X-Amz-Date=1", "https://h/?X-Amz-Signature=***&X-Amz-Date=1"),
        ("https://h/a@b?c=d@e", "https://h/a@b?c=d@e"),
    ],
)
def test_urls_lose_user_information_and_sensitive_parameters(url: str, shown: str) -> None:
    assert Masker().mask_url(url) == shown
    assert Masker().mask_text(f"GET {url} failed") == f"GET {shown} failed"


@pytest.mark.req("ACC-5.text")
@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Authorization: token ghp_abcdef123 x", "Authorization: ***"),
        ("cookie: a=b; c=d\nnext: line", "cookie: ***\nnext: line"),
        ("Authorization=Bearer abcdef.ghi", "Authorization=*** ***"),
        ("sent Bearer abcdef.ghi-123 to it", "sent Bearer *** to it"),
        ('{"password":"a\\"b c","x":1}', '{"password":"***","x":1}'),
        ("{'api_key': 'x y', 'n': 1}", "{'api_key': '***', 'n': 1}"),
        ('\\"token\\": \\"abc\\", 1', '\\"token\\": \\"***\\", 1'),
        ('"secret": "cut off here', '"secret": "***"'),
        ("db_password=hunter2, user=bob", "db_password=***, user=bob"),
        ("jwt eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc ok", "jwt *** ok"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMII\n-----END RSA PRIVATE KEY-----\nok", "***\nok"),
        ("Basic authentication is required", "Basic authentication is required"),
        ("max_tokens: 5, password: null", "max_tokens: 5, password: null"),
        ("12:30:00 a=b", "12:30:00 a=b"),
    ],
)
def test_text_is_searched_for_what_is_a_secret_by_its_grammar(text: str, shown: str) -> None:
    assert Masker().mask_text(text) == shown


@pytest.mark.req("ACC-5.personal")
@pytest.mark.parametrize(
    ("rule", "text", "shown"),
    [
        ("email", "write to Ann.Lee+x@mail.example.org now", "write to *** now"),
        ("email", "a@b and @mention", "a@b and @mention"),
        ("phone", "call +49 (30) 1234-5678 or (030) 123 4567", "call *** or ***"),
        ("phone", "order 20261101123, 3.14159, 2026-11-01", "order 20261101123, 3.14159, 2026-11-01"),
        ("card", "card 4111 1111 1111 1111 and 5500-0000-0000-0004", "card *** and ***"),
        (
            "card",
            "number 4111 1111 1111 1112 and id 1234567890123456",
            "number 4111 1111 1111 1112 and id 1234567890123456",
        ),
    ],
)
def test_personal_data_is_hidden_by_the_rules_asked_for_and_by_no_other(rule: str, text: str, shown: str) -> None:
    assert Masker(rules=[rule]).mask_text(text) == shown
    assert Masker().mask_text(text) == text


@pytest.mark.req("ACC-5.personal")
def test_an_unknown_rule_is_refused() -> None:
    with pytest.raises(ValueError, match="use one of email, phone, card"):
        Masker(rules=["names"])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


@pytest.mark.req("ACC-5.values")
@given(JSON, st.text(min_size=4, max_size=6))
def test_documents_keep_their_shape_and_hide_the_same_whether_searched_whole_or_in_parts(
    document: object, secret: str
) -> None:
    masker = Masker(values=[secret])
    masked = masker.mask_json(document)
    assert masked == masker.mask_json([document])[0] or masked is document  # pyright: ignore[reportIndexIssue]
    assert secret not in [text for text in texts(masked) if text != MASK]


def texts(value: object) -> list[str]:
    match value:
        case str():
            return [value]
        case dict():
            return [text for name, item in value.items() for text in (*texts(name), *texts(item))]
        case list():
            return [text for item in value for text in texts(item)]
        case _:
            return []


@pytest.mark.req("ACC-5.depth")
def test_nesting_deeper_than_the_bound_is_hidden_whole() -> None:
    document: object = {"password": "s3cr3t"}
    for _ in range(100_000):
        document = [document]
    masked = Masker(values=["s3cr3t"]).mask_json(document)
    for _ in range(DEPTH_MAX):
        assert isinstance(masked, list)
        masked = masked[0]
    assert masked == MASK


@pytest.mark.req("ACC-5.values")
def test_a_masker_does_not_print_what_it_hides() -> None:
    assert "s3cr3t" not in repr(Masker(values=["s3cr3t"]))


@pytest.mark.req("ACC-5.personal")
@pytest.mark.parametrize(
    ("rule", "text", "shown"),
    [
        ("iban", "to DE89370400440532013000 BIC COBADEFFXXX", "to *** BIC COBADEFFXXX"),
        ("iban", "to GB29 NWBK 6016 1331 9268 19, please", "to ***, please"),
        ("iban", "DE89370400440532013001 is none", "DE89370400440532013001 is none"),
        ("card", "4111 1111 1111 1111 12 of them", "*** 12 of them"),
        (
            "card",
            "at 1763752529005 and 1763752529013, 1763752529021",
            "at 1763752529005 and 1763752529013, 1763752529021",
        ),
        ("card", "amex 3782 822463 10005", "amex ***"),
        ("ip", "from 192.0.2.7 and 2001:db8::1, version 1.2.3, at 12:30", "from *** and ***, version 1.2.3, at 12:30"),
        ("ip", "999.1.1.1", "999.1.1.1"),
    ],
)
def test_personal_data_is_told_by_its_check_digits(rule: str, text: str, shown: str) -> None:
    assert Masker(rules=[rule]).mask_text(text) == shown


@pytest.mark.req("ACC-5.personal")
def test_a_card_number_that_is_a_number_is_hidden_too() -> None:
    assert Masker(rules=["card"]).mask_json({"n": 4111111111111111, "at": 1763752529005, "ok": True}) == {
        "n": MASK, "at": 1763752529005, "ok": True,
    }  # fmt: skip


@pytest.mark.req("ACC-5.text")
@pytest.mark.parametrize("rule", ["email", "phone", "card", "iban", "ip"])
@pytest.mark.parametrize("piece", ["1", "1 ", "a@", "a.", "+1 ", "DE89 ", "AAAA ", ":", "1.", "::", "4111 "])
def test_hostile_text_costs_linear_time(rule: str, piece: str) -> None:
    masker = Masker(rules=[rule])

    def seconds(length: int) -> float:
        text = piece * (length // len(piece))
        best = 9.0
        for _ in range(5):
            began = time.process_time()
            masker.mask_text(text)
            best = min(best, time.process_time() - began)
        return best

    assert seconds(80_000) < 16 * seconds(20_000) + 0.02
