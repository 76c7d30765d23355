"""What an answer becomes: its body by content type, its status as a failure, its Retry-After as seconds."""

from __future__ import annotations

import base64
import gzip
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue.net.bodies import parse_body
from segue.net.errors import HttpFailure
from segue.net.messages import HttpResponse
from segue.net.statuses import EXCERPT_LENGTH_MAX, RETRY_AFTER_SECONDS_MAX, parse_retry_after, raise_for_status
from segue.observe.masking import Masker

NOW = datetime(2026, 11, 1, 12, 0, 0, tzinfo=UTC)


@pytest.mark.req("PROV-9.body")
@pytest.mark.parametrize(
    ("content", "content_type", "value"),
    [
        (b"", "application/json", None),
        (b'{"a":[1,2.5,null]}', "application/json", {"a": [1, 2.5, None]}),
        (b"\xef\xbb\xbf[1]", "Application/JSON; charset=UTF-8", [1]),
        ('{"a":"\u00e9"}'.encode("latin-1"), "application/json; charset=iso-8859-1", {"a": "\u00e9"}),
        (b'{"type":"x"}', "application/problem+json", {"type": "x"}),
        ("gr\u00fcn".encode(), "text/plain", "gr\u00fcn"),
        ("gr\u00fcn".encode("cp1252"), 'text/html; charset="windows-1252"', "gr\u00fcn"),
        (b"<a/>", "application/xml", "<a/>"),
        (b"<a/>", "application/soap+xml; action=x", "<a/>"),
        (b'{"a":1}', "text/plain", '{"a":1}'),
        (b"a=1&b=x+y&b=%26&c=", "application/x-www-form-urlencoded", {"a": "1", "b": ["x y", "&"], "c": ""}),
        (b"plain", None, "plain"),
        (b"plain", "", "plain"),
    ],
)
def test_bodies_become_values_by_their_content_type(content: bytes, content_type: str | None, value: object) -> None:
    assert parse_body(content, content_type) == (value, None)


@pytest.mark.req("PROV-9.body")
@pytest.mark.parametrize(("content", "content_type"), [(b"\x89PNG", "image/png"), (b"\xff\xfe", None), (b"x", "a/b")])
def test_other_bodies_become_marked_base64(content: bytes, content_type: str | None) -> None:
    body, problem = parse_body(content, content_type)
    assert isinstance(body, dict)
    assert body["encoding"] == "base64"
    assert body["content_type"] == (content_type or "application/octet-stream")
    assert body["size_bytes"] == len(content)
    assert base64.b64decode(str(body["data"])) == content
    assert problem is None


@pytest.mark.req("PROV-9.body")
@pytest.mark.parametrize(
    "content", [b"<html>down</html>", b'{"a":', b"NaN", b'{"a":1} x', b'"\\ud800"', b"[" * 100_000, b"1e999"]
)
def test_json_that_is_none_is_given_as_text_with_the_reason(content: bytes) -> None:
    assert parse_body(content, "application/json")[0] == content.decode()
    assert "not the JSON" in str(parse_body(content, "application/json")[1])


@pytest.mark.req("PROV-9.body")
@pytest.mark.parametrize("charset", ["utf-8", "punycode", "nonsense", "unicode_escape", "zip", "idna"])
def test_text_in_an_unknown_or_wrong_charset_is_given_as_base64_with_the_reason(charset: str) -> None:
    body, problem = parse_body(b"\xff\xff", f"text/plain; charset={charset}")
    assert isinstance(body, dict)
    assert body["data"] == "//8="
    assert problem is not None


@pytest.mark.req("PROV-9.body")
@given(
    st.binary(max_size=200),
    st.sampled_from(["application/json", "text/x", "application/x-www-form-urlencoded", "a/b", ""]),
)
def test_no_body_whatever_can_make_reading_fail_or_get_lost(content: bytes, content_type: str) -> None:
    body, _ = parse_body(content, content_type)
    assert (body is None) == (content in (b"", b"null") and (content == b"" or content_type == "application/json"))


def response(status: int, body: bytes = b"", content_type: str = "", **headers: str) -> HttpResponse:
    parsed, problem = parse_body(body, content_type)
    return HttpResponse(
        method="POST",
        url="https://api.test/x?token=s3cr3t&page=2",
        status=status,
        headers={name.replace("_", "-"): value for name, value in headers.items()},
        body=parsed,
        body_error=problem,
        content=body,
        duration_seconds=0.1,
    )


def failure_for(answer: HttpResponse, masker: Masker | None = None) -> HttpFailure:
    with pytest.raises(HttpFailure) as caught:
        raise_for_status(answer, now=NOW, masker=masker or Masker())
    assert caught.value.sent is True
    return caught.value


@pytest.mark.req("PROV-9.status")
@pytest.mark.parametrize("status", [200, 204, 304, 399])
def test_statuses_below_400_are_no_failure(status: int) -> None:
    raise_for_status(response(status), now=NOW)


@pytest.mark.req("PROV-9.status", "TIME-1.categories")
@pytest.mark.parametrize(
    ("status", "category"), [(400, "http.400"), (401, "http.401"), (404, "http.404"), (429, "rate_limit"),
     (503, "http.503"), (599, "http.599")]
)  # fmt: skip
def test_statuses_from_400_have_their_category(status: int, category: str) -> None:
    failure = failure_for(response(status))
    assert (failure.category, failure.status, failure.code) == (category, status, f"http_{status}")
    assert f"answered {status}" in failure.message


@pytest.mark.req("TIME-1.retry-after")
def test_retry_after_is_taken_from_any_failing_status() -> None:
    assert failure_for(response(429, retry_after="7")).retry_after_seconds == 7
    assert failure_for(response(503, retry_after="Sun, 01 Nov 2026 12:00:30 GMT")).retry_after_seconds == 30
    assert failure_for(response(500)).retry_after_seconds is None


@pytest.mark.req("TIME-1.retry-after")
@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None), ("", None), ("soon", None), ("-5", None), ("1.5", None), ("\u0661", None), ("0", 0.0),
        (" 120 ", 120.0),
        ("9" * 30, RETRY_AFTER_SECONDS_MAX), ("Sun, 01 Nov 2026 12:02:00 GMT", 120.0),
        ("Sunday, 01-Nov-26 12:02:00 GMT", 120.0), ("Sun Nov  1 12:02:00 2026", 120.0),
        ("Sun, 01 Nov 2026 11:00:00 GMT", 0.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", RETRY_AFTER_SECONDS_MAX), ("Sun, 99 Nov 2026 12:00:00 GMT", None),
    ],
)  # fmt: skip
def test_retry_after_is_read_as_seconds_or_as_any_http_date(value: str | None, seconds: float | None) -> None:
    assert parse_retry_after(value, now=NOW) == seconds


@pytest.mark.req("TIME-1.retry-after")
@given(st.text(max_size=40))
def test_no_retry_after_can_make_reading_it_fail(value: str) -> None:
    seconds = parse_retry_after(value, now=NOW)
    assert seconds is None or 0 <= seconds <= RETRY_AFTER_SECONDS_MAX


@pytest.mark.req("ACC-5.errors")
def test_the_message_quotes_the_body_without_its_secrets() -> None:
    body = b'{"error": "bad", "access_token": "s3cr3t", "detail": "key sk-live-12345 is wrong"}'
    failure = failure_for(response(422, body, "application/json"), Masker(values=["sk-live-12345"]))
    shown = f"{failure.message} {failure.details}"
    assert '"error":"bad"' in failure.message
    assert "s3cr3t" not in shown
    assert "sk-live" not in shown
    assert "page=2" in failure.message


@pytest.mark.req("ACC-5.errors")
def test_the_message_is_short_and_a_secret_at_its_end_is_not_half_shown() -> None:
    body = b"x" * (EXCERPT_LENGTH_MAX - 4) + b" secret-value-of-ours " + b"y" * 200_000
    failure = failure_for(response(500, body, "text/plain"), Masker(values=["secret-value-of-ours"]))
    assert len(failure.message) < EXCERPT_LENGTH_MAX + 100
    assert "sec" not in failure.message


@pytest.mark.req("ACC-5.errors")
def test_binary_bodies_are_told_by_size() -> None:
    failure = failure_for(response(500, gzip.compress(b"x"), "application/gzip"))
    assert "bytes of application/gzip" in failure.message
