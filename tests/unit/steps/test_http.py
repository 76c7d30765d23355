"""The `http` step against real servers on loopback."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncGenerator, Mapping
from typing import Any

import pytest

from segue.client.embedded import RunResult, Segue
from segue.errors import StepError
from segue.net.client import HttpClient
from segue.net.egress import EgressPolicy
from segue.observe.masking import DEFAULT_MASKER
from segue.steps.http import PARAMS_SCHEMA, effect_of, http_action
from unit.net.fault_server import Connection, FaultServer, always, never_answer, serve
from unit.steps.kit import Lines, context

pytestmark = pytest.mark.anyio


@pytest.fixture
async def client() -> AsyncGenerator[HttpClient]:
    async with HttpClient(policy=EgressPolicy.local()) as made:
        yield made


async def call(client: HttpClient, url: str, lines: Lines | None = None, **params: Any) -> dict[str, Any]:
    facts = params.pop("facts", {})
    return await http_action(lambda: client).run({"url": url, **params}, context(lines, **facts))


def body_of(request: str) -> str:
    return request.partition("\r\n\r\n")[2]


def header_of(request: str, name: str) -> str | None:
    for line in request.partition("\r\n\r\n")[0].split("\r\n")[1:]:
        key, _, value = line.partition(":")
        if key.lower() == name.lower():
            return value.strip()
    return None


async def echo(connection: Connection) -> None:
    """Answers with what it was asked."""
    while (request := await connection.read_request()) is not None:
        answer = {"line": request.partition("\r\n")[0], "body": body_of(request)}
        await connection.answer(json.dumps(answer), headers=["Content-Type: application/json", "Set-Cookie: a=1"])


# ---------------------------------------------------------------- what is sent


@pytest.mark.req("PROV-9.method", "DUR-5.effects")
@pytest.mark.parametrize(
    ("method", "effect"),
    [
        ("GET", "safe"), ("get", "safe"), (None, "safe"), ("HEAD", "safe"), ("OPTIONS", "safe"), ("PUT", "safe"),
        ("DELETE", "safe"), ("POST", "keyed"), ("patch", "keyed"), ("QUERY", "keyed"),
    ],
)  # fmt: skip
async def test_the_method_is_sent_and_says_what_repeating_means(
    client: HttpClient, method: str | None, effect: str
) -> None:
    params: dict[str, Any] = {} if method is None else {"method": method}
    assert effect_of(params) == effect
    async with serve(always(b"")) as server:
        await call(client, f"{server.url}/x", **params)
    assert server.requests[0].startswith(f"{(method or 'GET').upper()} /x HTTP/1.1\r\n")


@pytest.mark.req("PROV-9.body")
@pytest.mark.parametrize(
    ("params", "content_type", "body"),
    [
        ({"json": {"a": [1, None]}}, "application/json", '{"a":[1,null]}'),
        ({"json": None}, "application/json", "null"),
        ({"body": "plain ü"}, "text/plain; charset=utf-8", "plain ü"),
        ({"body": {"a": 1}}, "application/json", '{"a":1}'),
        ({"body": [1]}, "application/json", "[1]"),
        ({"form": {"a": "1 2", "b": [1, 2], "c": None, "d": True}}, "application/x-www-form-urlencoded",
         "a=1+2&b=1&b=2&d=true"),
        ({}, "application/octet-stream", ""),
    ],
)  # fmt: skip
async def test_bodies_are_sent_as_they_are_meant(
    client: HttpClient, params: dict[str, Any], content_type: str | None, body: str
) -> None:
    async with serve(always()) as server:
        await call(client, server.url, method="POST", **params)
    assert body_of(server.requests[0]) == body
    found = header_of(server.requests[0], "content-type")
    assert (found or "").partition(";")[0] == (content_type or "").partition(";")[0]


@pytest.mark.req("PROV-9.multipart")
async def test_a_multipart_body_has_fields_and_files(client: HttpClient) -> None:
    picture = {"encoding": "base64", "content_type": "image/png", "size_bytes": 3, "data": "AAEC"}
    async with serve(always()) as server:
        await call(
            client, server.url, method="POST",
            multipart={
                "title": "holiday", "count": 3, "public": True, "nothing": None, "tags": ["a", "b"],
                "notes": {"value": "x,y", "filename": "n.csv", "content_type": "text/csv"},
                "raw": {"base64": base64.b64encode(b"raw bytes").decode(), "filename": "r.bin"},
                "picture": picture,
            },
        )  # fmt: skip
    sent = body_of(server.requests[0])
    assert (header_of(server.requests[0], "content-type") or "").startswith("multipart/form-data; boundary=")
    for part in (
        'name="title"\r\n\r\nholiday\r\n', 'name="count"\r\n\r\n3\r\n', 'name="public"\r\n\r\ntrue\r\n',
        'name="tags"\r\n\r\na\r\n', 'name="tags"\r\n\r\nb\r\n',
        'name="notes"; filename="n.csv"\r\nContent-Type: text/csv\r\n\r\nx,y\r\n',
        'name="raw"; filename="r.bin"\r\nContent-Type: application/octet-stream\r\n\r\nraw bytes\r\n',
        'name="picture"\r\nContent-Type: image/png\r\n\r\n\x00\x01\x02\r\n',
    ):  # fmt: skip
        assert part in sent
    assert "nothing" not in sent


@pytest.mark.req("PROV-9.headers", "PROV-9.query")
async def test_headers_and_query_are_sent(client: HttpClient) -> None:
    async with serve(always()) as server:
        await call(
            client, f"{server.url}/p?a=1", headers={"X-N": 5, "X-B": True, "X-Null": None, "X-L": ["a", 2]},
            query={"b": "x y", "c": [1, 2], "d": None},
        )  # fmt: skip
    request = server.requests[0]
    assert request.startswith("GET /p?a=1&b=x+y&c=1&c=2 ")
    assert (header_of(request, "x-n"), header_of(request, "x-b"), header_of(request, "x-null")) == ("5", "true", None)
    assert "X-L: a\r\n" in request
    assert "X-L: 2\r\n" in request


@pytest.mark.req("PROV-9.auth")
@pytest.mark.parametrize(
    ("auth", "header", "value"),
    [
        ({"bearer": "t0ken"}, "authorization", "Bearer t0ken"),
        ({"bearer": {"token": "t0ken"}}, "authorization", "Bearer t0ken"),
        ({"type": "bearer", "token": "t0ken"}, "authorization", "Bearer t0ken"),
        ({"basic": {"username": "u", "password": "p"}}, "authorization", "Basic dTpw"),
        ({"type": "basic", "username": "u", "password": "p"}, "authorization", "Basic dTpw"),
        ({"header": {"name": "X-Key", "value": "k"}}, "x-key", "k"),
        ({"type": "header", "name": "X-Key", "value": 7}, "x-key", "7"),
    ],
)
async def test_credentials_are_sent(client: HttpClient, auth: dict[str, Any], header: str, value: str) -> None:
    async with serve(always()) as server:
        await call(client, server.url, auth=auth)
    assert header_of(server.requests[0], header) == value


@pytest.mark.req("PROV-9.params")
@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"url": ""}, "url: an address"),
        ({"url": 5}, "url: an address"),
        ({"url": None}, "url: an address"),
        ({"verb": "GET"}, "unknown parameter 'verb'; known are auth,"),
        ({"headers": "x"}, "headers: a map is needed, not str"),
        ({"headers": {"x": {"a": 1}}}, "headers.x: a text is needed, not dict"),
        ({"headers": {"x": [["a"]]}}, "headers.x: a text is needed, not list"),
        ({"query": [1]}, "query: a map"),
        ({"form": 5}, "form: a map"),
        ({"auth": "secret"}, "auth: a map is needed, not str"),
        ({"auth": {}}, "auth: bearer, basic or header is needed"),
        ({"auth": {"digest": {}}}, "not 'digest'"),
        ({"auth": {"bearer": None}}, "auth: bearer needs 'token'"),
        ({"auth": {"basic": {"username": "u"}}}, "auth: basic needs 'password'"),
        ({"auth": {"basic": {"username": "u", "password": None}}}, "auth: basic needs 'password'"),
        ({"auth": {"header": {"name": "x", "value": None}}}, "auth: header needs 'value'"),
        ({"auth": {"header": 5}}, "auth.header: a map"),
        ({"expect": "ok"}, "expect: 'ok' is no status"),
        ({"expect": [200, "2x"]}, "expect: '2x' is no status"),
        ({"max_bytes": "many"}, "max_bytes: a whole number"),
        ({"max_bytes": True}, "max_bytes: a whole number"),
        ({"multipart": "x"}, "multipart: a map"),
        ({"multipart": {"f": {"filename": "x"}}}, "multipart.f: one of value and base64 is needed"),
        ({"multipart": {"f": {"value": "x", "base64": "eA=="}}}, "multipart.f: one of value and base64"),
        ({"multipart": {"f": {"base64": "!"}}}, "multipart.f: base64 cannot be decoded"),
        ({"multipart": {"f": {"value": "x", "colour": "red"}}}, "multipart.f: unknown key 'colour'"),
    ],
)
async def test_parameters_that_cannot_be_meant_are_refused_for_good_by_name(
    client: HttpClient, params: dict[str, Any], words: str
) -> None:
    async with serve(always()) as server:
        with pytest.raises(StepError) as caught:
            await http_action(lambda: client).run({"url": server.url, **params}, context())
    assert (caught.value.category, caught.value.code) == ("validation", "invalid_params")
    assert words in caught.value.message
    assert server.requests == []


@pytest.mark.req("PROV-9.body")
async def test_a_request_has_one_body(client: HttpClient) -> None:
    async with serve(always()) as server:
        with pytest.raises(StepError) as caught:
            await call(client, server.url, method="POST", json={}, multipart={"a": "b"})
    assert caught.value.category == "validation"
    assert server.requests == []


# ---------------------------------------------------------------- what comes back


@pytest.mark.req("PROV-9.body")
@pytest.mark.parametrize(
    ("content_type", "content", "body"),
    [
        ("application/json", b'{"a": 1}', {"a": 1}),
        ("application/problem+json", b"[1]", [1]),
        ("text/plain; charset=latin-1", "ü".encode("latin-1"), "ü"),
        ("text/html", b"<p>", "<p>"),
        ("application/x-www-form-urlencoded", b"a=1&b=2", {"a": "1", "b": "2"}),
        ("application/json", b"", None),
        ("application/octet-stream", b"\x00\x01",
         {"encoding": "base64", "content_type": "application/octet-stream", "size_bytes": 2, "data": "AAE="}),
    ],
)  # fmt: skip
async def test_the_answers_body_is_parsed_by_its_type(
    client: HttpClient, content_type: str, content: bytes, body: Any
) -> None:
    async with serve(always(content, headers=[f"Content-Type: {content_type}", "X-One: 1"])) as server:
        output = await call(client, server.url)
    assert output["body"] == body
    assert output["status"] == 200
    assert output["headers"]["x-one"] == "1"


async def test_cookies_stay_a_list(client: HttpClient) -> None:
    async with serve(echo) as server:
        assert (await call(client, server.url))["headers"]["set-cookie"] == ["a=1"]


@pytest.mark.req("OBS-2.step-logs")
async def test_a_body_that_is_not_what_it_says_is_told_in_the_log(client: HttpClient) -> None:
    lines = Lines()
    async with serve(always(b'{"a": ', headers=["Content-Type: application/json"])) as server:
        output = await call(client, server.url, lines)
    assert output["body"] == '{"a": '
    assert [level for level, _, _ in lines.lines] == ["info", "warning"]
    assert "JSON" in lines.lines[1][1]


@pytest.mark.req("PROV-9.status", "TIME-1.categories")
@pytest.mark.parametrize(
    ("status", "expect", "category"),
    [
        (200, None, None), (204, None, None), (399, None, None), (400, None, "http.400"), (404, None, "http.404"),
        (429, None, "rate_limit"), (503, None, "http.503"), (404, [200, 404], None), (404, 404, None),
        (404, "4xx", None), (404, ["2xx", "404"], None), (500, ["2xx", 404], "http.500"), (200, [404], "validation"),
        (201, "2XX", None), (302, "2xx", "validation"),
    ],
)  # fmt: skip
async def test_statuses_are_good_below_400_or_as_expected(
    client: HttpClient, status: int, expect: Any, category: str | None
) -> None:
    lines = Lines()
    async with serve(
        always(b"" if status == 204 else b"why", status=f"{status} X", headers=["Retry-After: 7"])
    ) as server:
        params = {} if expect is None else {"expect": expect}
        if category is None:
            assert (await call(client, server.url, lines, **params))["status"] == status
        else:
            with pytest.raises(StepError) as caught:
                await call(client, server.url, lines, **params)
            assert (caught.value.category, caught.value.status) == (category, status)
            if status in (429, 503):
                assert caught.value.retry_after_seconds == 7
                assert "why" in caught.value.message
    assert lines.lines[0][0] == ("info" if category is None else "warning")
    assert lines.lines[0][1] == f"HTTP {status}"
    assert lines.lines[0][2]["method"] == "GET"


@pytest.mark.req("ACC-5.errors", "OBS-2.step-logs")
async def test_secrets_of_a_request_are_in_no_log_line_and_no_error(client: HttpClient) -> None:
    canary = "canary-5ecret-value"
    lines = Lines()
    facts = {"masker": DEFAULT_MASKER.with_values([canary])}
    async with serve(always(f"you sent {canary}", status="403 No")) as server:
        url = server.url.replace("http://", f"http://user:{canary}@") + f"/{canary}?api_key={canary}"
        with pytest.raises(StepError) as caught:
            await call(
                client, url, lines, facts=facts, headers={"X-Thing": canary}, json={"p": canary}, method="POST"
            )  # fmt: skip
        assert canary in server.requests[0]
    assert canary not in lines.text
    assert canary not in caught.value.message
    assert canary not in repr(caught.value.details)


@pytest.mark.req("TIME-2.attempt")
async def test_the_steps_time_bounds_the_whole_call(client: HttpClient) -> None:
    async with serve(never_answer) as server:
        with pytest.raises(StepError) as caught:
            await call(client, server.url, facts={"timeout_seconds": 0.05})
        await server.client_left.wait()
    assert caught.value.category == "timeout"
    assert "0.05 s" in caught.value.message


@pytest.mark.req("PROV-9.limit")
async def test_an_answer_that_is_too_large_is_given_up(client: HttpClient) -> None:
    async with serve(always(b"x" * 101)) as server:
        assert (await call(client, server.url, max_bytes=101))["body"]
        with pytest.raises(StepError) as caught:
            await call(client, server.url, max_bytes=100)
    assert (caught.value.category, caught.value.code) == ("validation", "body_too_large")


@pytest.mark.req("PROV-9.redirects")
async def test_redirects_are_followed_unless_told_otherwise(client: HttpClient) -> None:
    async def moved(connection: Connection) -> None:
        while (request := await connection.read_request()) is not None:
            if request.startswith("GET /old"):
                await connection.answer(status="302 Found", headers=["Location: /new"])
            else:
                await connection.answer(b"here")

    async with serve(moved) as server:
        assert (await call(client, f"{server.url}/old"))["body"] == "here"
        assert (await call(client, f"{server.url}/old", follow_redirects=False))["status"] == 302


# ---------------------------------------------------------------- repeating


def drops_a_kept_connection(server_requests: list[str]) -> Any:
    """Answers once on a connection, then takes a request and says nothing."""

    async def behaviour(connection: Connection) -> None:
        await connection.read_request()
        await connection.answer(b"first")
        if await connection.read_request() is not None and connection.number > 1:
            await connection.answer(b"again")

    return behaviour


@pytest.mark.req("DUR-5.unknown-outcome", "PROV-9.idempotency")
@pytest.mark.parametrize(("unsafe", "sent"), [(False, 3), (True, 2)])
async def test_an_unsafe_request_is_not_even_sent_again_on_a_closed_connection(
    client: HttpClient, unsafe: bool, sent: int
) -> None:
    async with serve(drops_a_kept_connection([])) as server:
        await call(client, server.url, facts={"unsafe": unsafe})
        if unsafe:
            with pytest.raises(StepError) as caught:
                await call(client, server.url, facts={"unsafe": True})
            assert caught.value.category == "connection"
            assert getattr(caught.value, "sent", None) is True
        else:
            assert (await call(client, server.url))["status"] == 200
        assert len(server.requests) == sent


RETRYING = """
flow: pays
inputs: {url: string}
steps:
  - pay:
      http: {method: METHOD, url: $inputs.url, json: {amount: 5, id: "{{ uuid() }}"}}
      retry: {attempts: 3, initial_delay: 1ms, backoff: constant}
      timeout: 5s
      MORE
"""


async def pays(server: FaultServer, method: str = "POST", more: str = "") -> RunResult:
    async with Segue("memory:") as segue:
        return await segue.run(RETRYING.replace("METHOD", method).replace("MORE", more), {"url": server.url})


@pytest.mark.req("DUR-5.same-key", "PROV-9.idempotency", "TIME-1.attempts")
@pytest.mark.parametrize("method", ["POST", "PATCH", "PUT"])
async def test_all_attempts_send_the_same_key_and_the_same_body(method: str) -> None:
    async def fails_twice(connection: Connection) -> None:
        while await connection.read_request() is not None:
            good = len(connection.server.requests) > 2
            await connection.answer(b"{}", status="200 OK" if good else "503 Later")

    async with serve(fails_twice) as server:
        result = await pays(server, method)
        assert result.succeeded, result.error
        other = await pays(server, method)
        assert other.succeeded
    keys = [header_of(request, "idempotency-key") for request in server.requests]
    assert len(keys) == 4
    assert len(set(keys[:3])) == 1
    assert len(keys[0] or "") == 43
    assert keys[3] != keys[0]
    assert len({body_of(request) for request in server.requests[:3]}) == 1


async def takes_it_and_dies(connection: Connection) -> None:
    await connection.read_request()


@pytest.mark.req("DUR-5.unknown-outcome", "PROV-9.idempotency")
async def test_an_unsafe_post_without_an_answer_has_an_unknown_outcome_and_is_sent_once() -> None:
    async with serve(takes_it_and_dies) as server:
        result = await pays(server, more="idempotency: unsafe")
        assert result.error is not None
        assert result.error.category == "unknown_outcome"
        assert len(server.requests) == 1
        keyed = await pays(server)
        assert keyed.error is not None
        assert keyed.error.category == "connection"
        assert len(server.requests) == 4


@pytest.mark.req("DUR-5.unknown-outcome")
async def test_an_unsafe_post_that_could_not_be_sent_is_tried_again() -> None:
    async with serve(always()) as server:
        pass  # its port is closed now
    result = await pays(server, more="idempotency: unsafe")
    assert result.error is not None
    assert (result.error.category, result.error.attempt) == ("connection", 3)


@pytest.mark.req("FLOW-12.params")
def test_the_schema_names_every_parameter() -> None:
    properties = PARAMS_SCHEMA["properties"]
    assert isinstance(properties, Mapping)
    assert set(properties) == {
        "method", "url", "headers", "query", "json", "body", "form", "multipart", "auth", "follow_redirects",
        "max_bytes", "expect", "connection",
    }  # fmt: skip
    assert all("description" in one or "type" in one for one in properties.values())


async def test_cancelling_the_step_lets_go_of_the_connection(client: HttpClient) -> None:
    async with serve(never_answer) as server:
        calling = asyncio.create_task(call(client, server.url))
        await server.request_came.wait()
        calling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await calling
        await server.client_left.wait()
