"""What a request becomes before it is sent, and what cannot be sent."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import replace

import pytest

from segue.net.errors import HttpFailure
from segue.net.limits import HttpLimits
from segue.net.messages import BasicAuth, BearerAuth, HeaderAuth, HttpRequest, Part
from segue.net.prepare import PreparedRequest, prepare
from segue.net.redirects import next_request

URL = "https://api.test/things"


def prepared(**fields: object) -> PreparedRequest:
    return prepare(HttpRequest(**{"url": URL, **fields}), HttpLimits())  # pyright: ignore[reportArgumentType]


def refusal(**fields: object) -> HttpFailure:
    with pytest.raises(HttpFailure) as caught:
        prepared(**fields)
    assert caught.value.category == "validation"
    assert caught.value.sent is False
    return caught.value


@pytest.mark.req("PROV-9.url")
def test_params_join_the_query_of_the_url() -> None:
    request = prepared(url=f"{URL}?a=1#frag", params={"b": "x y&z", "c": [1, 2.0, True], "d": None, "e": ""})
    assert str(request.url) == f"{URL}?a=1&b=x+y%26z&c=1&c=2&c=true&e="


@pytest.mark.req("PROV-9.url")
@pytest.mark.parametrize(
    "url",
    ["", "api.test/x", "ftp://api.test/", "https://", "https:///x", "file:///etc/passwd", "https://a b/",
     "https://a/\r\nX: y", "https://a:0/", "https://a:70000/", "https://a:b/", "javascript:alert(1)",
     "https://a/" + "x" * 20_000],
)  # fmt: skip
def test_urls_that_are_none_are_refused_before_anything_is_sent(url: str) -> None:
    assert refusal(url=url).code == "bad_url"


@pytest.mark.req("PROV-9.headers", "ACC-6.injection")
@pytest.mark.parametrize(
    ("name", "value"),
    [("X", "a\r\nInjected: 1"), ("X", "a\nb"), ("X", "a\x00b"), ("X\r\nY", "1"), ("X Y", "1"), ("", "1"), ("X:", "1"),
     ("Content-Length", "3"), ("transfer-encoding", "chunked"), ("Connection", "close"), ("X", "y" * 20_000)],
)  # fmt: skip
def test_headers_that_would_change_the_message_are_refused(name: str, value: str) -> None:
    assert refusal(headers={name: value}).code == "bad_header"


@pytest.mark.req("PROV-9.headers")
def test_a_refused_header_value_is_not_shown_since_it_may_be_a_secret() -> None:
    failure = refusal(auth=BearerAuth(token="s3cr3t\nvalue"))
    assert "s3cr3t" not in failure.message
    assert "Authorization" in failure.message


@pytest.mark.req("PROV-9.method")
@pytest.mark.parametrize("method", ["", "GET POST", "CONNECT", "TRACE", "G\r\nET"])
def test_methods_that_are_none_or_make_tunnels_are_refused(method: str) -> None:
    assert refusal(method=method).code == "bad_method"


@pytest.mark.req("PROV-9.auth")
@pytest.mark.parametrize(
    ("auth", "name", "value"),
    [
        (BasicAuth(username="Aladdin", password="open sesame"), "Authorization", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),
        (BearerAuth(token="t0ken"), "Authorization", "Bearer t0ken"),
        (HeaderAuth(name="X-Key", value="k"), "X-Key", "k"),
    ],
)
def test_each_kind_of_auth_becomes_its_header_and_is_secret(auth: object, name: str, value: str) -> None:
    request = prepared(auth=auth)
    assert request.headers[name] == value
    assert name.lower() in request.secret_headers


@pytest.mark.req("PROV-9.auth")
def test_user_information_in_the_url_becomes_basic_auth_and_leaves_the_url() -> None:
    request = prepared(url="https://us%40er:pa%3Ass@api.test/x")
    assert str(request.url) == "https://api.test/x"
    assert base64.b64decode(request.headers["Authorization"].removeprefix("Basic ")) == b"us@er:pa:ss"


@pytest.mark.req("PROV-9.auth")
def test_two_authorities_for_one_header_are_refused_rather_than_one_of_them_chosen() -> None:
    assert refusal(headers={"authorization": "x"}, auth=BearerAuth(token="t")).code == "bad_header"
    assert refusal(url="https://u:p@api.test/", auth=BearerAuth(token="t")).code == "bad_url"


@pytest.mark.req("PROV-9.idempotency")
def test_the_idempotency_key_is_sent_unless_the_user_set_one() -> None:
    assert prepared(idempotency_key="k1").headers["Idempotency-Key"] == "k1"
    request = prepared(idempotency_key="k1", headers={"idempotency-key": "mine"}, traceparent="00-ab-cd-01")
    assert request.headers.getall("Idempotency-Key") == ["mine"]
    assert request.headers["traceparent"] == "00-ab-cd-01"


@pytest.mark.req("PROV-9.body")
@pytest.mark.parametrize(
    ("fields", "content_type", "body"),
    [
        ({"json": {"a": [1, None]}}, "application/json", b'{"a":[1,null]}'),
        ({"json": None}, "application/json", b"null"),
        ({"form": {"a": "x&y", "b": [1, True], "c": None}}, "application/x-www-form-urlencoded", b"a=x%26y&b=1&b=true"),
        ({"body": "h\u00e9"}, "text/plain; charset=utf-8", "h\u00e9".encode()),
        ({"body": "<a/>", "headers": {"content-type": "text/xml"}}, "text/xml", b"<a/>"),
        ({"body": b"\x00"}, None, b"\x00"),
        ({}, None, None),
    ],
)
def test_each_kind_of_body_is_encoded_with_its_content_type(
    fields: dict[str, object], content_type: str | None, body: bytes | None
) -> None:
    request = prepared(method="POST", **fields)
    assert request.body == body
    assert request.headers.get("Content-Type") == content_type


@pytest.mark.req("PROV-9.body")
def test_bodies_that_json_cannot_say_are_refused_instead_of_changed() -> None:
    for value in ({"a": [float("nan")]}, float("inf"), {"a": object()}):
        assert refusal(json=value).code == "bad_body"
    assert refusal(json=1, form={}).code == "bad_body"


@pytest.mark.req("PROV-9.body")
@pytest.mark.parametrize("value", [{"a": 1}, [[1]], [{"a": 1}], b"x"])
def test_structures_in_a_query_or_form_are_refused_rather_than_printed_as_python_does(value: object) -> None:
    assert refusal(params={"p": value}).code == "bad_params"
    assert refusal(form={"p": value}).code == "bad_params"


@pytest.mark.req("ACC-6.size")
def test_a_request_body_over_the_limit_is_refused() -> None:
    with pytest.raises(HttpFailure) as caught:
        prepare(HttpRequest(url=URL, method="PUT", body=b"x" * 11), HttpLimits(request_bytes_max=10))
    assert caught.value.code == "request_too_large"


@pytest.mark.req("PROV-9.multipart")
def test_multipart_is_the_same_bytes_each_time_and_cannot_be_broken_out_of() -> None:
    parts = [
        Part(name='a"\r\nX: y', data="1"),
        Part(name="f", data=b"\x00--", filename='na"me.bin'),
        Part(name="j", data="{}", content_type="application/json"),
    ]
    first, second = prepared(method="POST", multipart=parts), prepared(method="POST", multipart=parts)
    assert first.body == second.body
    boundary = first.headers["Content-Type"].removeprefix("multipart/form-data; boundary=")
    expected = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="a%22%0D%0AX: y"\r\n\r\n1\r\n'
        f'--{boundary}\r\nContent-Disposition: form-data; name="f"; filename="na%22me.bin"\r\n'
        f"Content-Type: application/octet-stream\r\n\r\n\x00--\r\n"
        f'--{boundary}\r\nContent-Disposition: form-data; name="j"\r\n'
        f"Content-Type: application/json\r\n\r\n{{}}\r\n"
        f"--{boundary}--\r\n"
    )
    assert first.body == expected.encode()
    assert refusal(multipart=[Part(name="a", data="", content_type="a/b\r\nX: y")]).code == "bad_body"


@pytest.mark.req("ACC-5.repr")
def test_printing_a_request_or_its_auth_shows_no_secret() -> None:
    request = HttpRequest(
        url="https://u:s3cr3t@api.test/x?token=s3cr3t",
        headers={"X": "s3cr3t"},
        json="s3cr3t",
        auth=BearerAuth(token="s3cr3t"),
    )
    shown = f"{request!r} {request.auth!r} {BasicAuth(username='u', password='s3cr3t')!r}"
    assert "s3cr3t" not in shown
    assert "api.test/x" in shown


def hop(status: int, location: str, method: str = "POST", **fields: object) -> PreparedRequest | None:
    return next_request(prepared(method=method, **fields), status, location)


def method_and_body(following: PreparedRequest | None) -> tuple[str, bytes | None]:
    assert following is not None
    return following.method, following.body


@pytest.mark.req("PROV-9.redirects")
@pytest.mark.parametrize(
    ("status", "method", "then"),
    [(301, "POST", "GET"), (302, "POST", "GET"), (303, "POST", "GET"), (303, "PUT", "GET"), (303, "HEAD", "HEAD"),
     (301, "PUT", "PUT"), (302, "DELETE", "DELETE"), (307, "POST", "POST"), (308, "PATCH", "PATCH"),
     (302, "GET", "GET")],
)  # fmt: skip
def test_methods_are_rewritten_as_rfc_9110_says_and_bodies_go_with_them(status: int, method: str, then: str) -> None:
    following = hop(status, "/other", method, json={"a": 1})
    assert method_and_body(following) == (then, b'{"a":1}' if then == method else None)
    assert following is not None
    assert str(following.url) == "https://api.test/other"
    assert ("Content-Type" in following.headers) == (then == method)


@pytest.mark.req("PROV-9.redirects")
def test_answers_that_are_no_redirect_end_the_chain() -> None:
    assert hop(200, "/x") is None
    assert hop(304, "/x") is None
    assert hop(302, "") is None


SECRETS = {
    "Authorization": "a",
    "Cookie": "b",
    "X-Api-Key": "c",
    "X-Custom": "d",
    "X-Plain": "e",
    "Idempotency-Key": "k",
}


@pytest.mark.req("ACC-6.redirects")
@pytest.mark.parametrize(
    "location",
    [
        "https://other.test/",
        "//other.test/x",
        "http://api.test/",
        "https://api.test:8443/",
        "https://user:pw@other.test/",
    ],
)
def test_secret_headers_stay_behind_when_the_origin_changes(location: str) -> None:
    following = hop(307, location, headers=SECRETS, secret_headers=frozenset({"x-custom"}), body="x")
    assert following is not None
    assert set(following.headers) == {"X-Plain", "Idempotency-Key", "Content-Type"}
    assert following.url.user is None
    assert following.url.password is None


@pytest.mark.req("ACC-6.redirects")
def test_headers_stay_on_the_same_origin_but_do_not_come_back_after_leaving_it() -> None:
    request = prepared(headers=SECRETS, auth=HeaderAuth(name="X-Key", value="v"))
    same = next_request(request, 302, "https://API.test:443/y")
    assert same is not None
    assert same.headers == request.headers
    away = next_request(same, 302, "https://other.test/")
    assert away is not None
    back = next_request(away, 302, URL)
    assert back is not None
    assert "X-Key" not in back.headers
    assert "Authorization" not in back.headers


@pytest.mark.req("ACC-6.redirects")
@pytest.mark.parametrize(
    "location", ["ftp://x/", "javascript:alert(1)", "http://", "http://[::1", "https://a:99999/", "data:,x"]
)
def test_a_redirect_to_no_web_address_is_a_failure(location: str) -> None:
    with pytest.raises(HttpFailure) as caught:
        hop(302, location)
    assert caught.value.code == "bad_redirect"
    assert caught.value.sent is True


@pytest.mark.req("PROV-9.idempotency")
@pytest.mark.parametrize(
    ("make", "is_idempotent"),
    [
        (lambda r: r, True),
        (lambda r: replace(r, method="POST"), False),
        (lambda r: replace(r, method="PATCH"), False),
        (lambda r: replace(r, method="put"), True),
        (lambda r: replace(r, idempotent=False), False),
        (lambda r: replace(r, method="POST", idempotent=True), True),
    ],
)
def test_what_may_be_sent_again_follows_the_method_unless_said_otherwise(
    make: Callable[[HttpRequest], HttpRequest], is_idempotent: bool
) -> None:
    assert prepare(make(HttpRequest(url=URL)), HttpLimits()).idempotent is is_idempotent
