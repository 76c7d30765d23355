"""The client against real servers on loopback that do what servers do on a bad day."""

from __future__ import annotations

import asyncio
import datetime
import gzip
import ipaddress
import ssl
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from segue.errors import EngineError
from segue.net.client import HttpClient
from segue.net.egress import EgressPolicy
from segue.net.errors import EgressRefusedError, HttpFailure
from segue.net.limits import HttpLimits
from segue.net.messages import BearerAuth, HttpRequest, HttpResponse
from unit.net.fault_server import Connection, FakeResolver, always, never_answer, serve

pytestmark = pytest.mark.anyio


@pytest.fixture
async def client() -> AsyncIterator[HttpClient]:
    async with HttpClient(policy=EgressPolicy.local()) as client:
        yield client


async def failure_of(call: Awaitable[HttpResponse]) -> HttpFailure:
    with pytest.raises(HttpFailure) as caught:
        await call
    assert caught.value.details is not None
    assert caught.value.details["sent"] is caught.value.sent
    return caught.value


def outcome(failure: HttpFailure) -> tuple[str, str | None, bool]:
    return failure.category, failure.code, failure.sent


@pytest.mark.req("PROV-9.request")
async def test_a_call_sends_what_was_asked_and_gives_status_headers_and_body(client: HttpClient) -> None:
    headers = ["Content-Type: application/json", "X-A: 1", "x-a: 2", "Set-Cookie: a=1", "Set-Cookie: b=2"]
    async with serve(always('{"ok": true}', status="201 Created", headers=headers)) as server:
        response = await client.request(
            HttpRequest(
                method="post",
                url=f"{server.url}/p",
                params={"q": 1},
                json={"n": 1},
                idempotency_key="k",
                traceparent="00-1",
            )
        )
    head, _, body = server.requests[0].partition("\r\n\r\n")
    assert head.startswith("POST /p?q=1 HTTP/1.1\r\n")
    assert {"Idempotency-Key: k", "traceparent: 00-1", "User-Agent: segue"} <= set(head.split("\r\n"))
    assert body == '{"n":1}'
    assert (response.status, response.body, response.method) == (201, {"ok": True}, "POST")
    assert response.headers["x-a"] == "1, 2"
    assert response.headers["set-cookie"] == ["a=1", "b=2"]
    assert response.header("Set-Cookie") == "a=1"
    assert response.url == f"{server.url}/p?q=1"
    assert response.size_bytes == 12
    assert response.duration_seconds > 0


@pytest.mark.req("PROV-9.status")
async def test_a_bad_status_is_an_answer_and_not_an_exception(client: HttpClient) -> None:
    async with serve(always("no", status="503 Nope", headers=["Content-Type: text/plain"])) as server:
        response = await client.request(HttpRequest(url=server.url))
    assert (response.status, response.body) == (503, "no")


@pytest.mark.req("ACC-6.cookies")
async def test_cookies_of_one_call_are_not_sent_with_the_next(client: HttpClient) -> None:
    async with serve(always(headers=["Set-Cookie: session=1; Path=/"])) as server:
        for _ in range(2):
            await client.request(HttpRequest(url=server.url))
    assert not any("cookie" in request.lower() for request in server.requests)


@pytest.mark.req("ACC-6.proxy")
async def test_proxy_variables_of_the_process_are_not_obeyed(
    client: HttpClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve(always()) as proxy, serve(always()) as server:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        await client.request(HttpRequest(url=server.url))
    assert (proxy.connections, server.connections) == (0, 1)


@pytest.mark.req("PROV-9.keep-alive")
async def test_connections_are_kept_and_used_again(client: HttpClient) -> None:
    async with serve(always()) as server:
        for _ in range(5):
            await client.request(HttpRequest(url=server.url))
    assert (server.connections, len(server.requests)) == (1, 5)


@pytest.mark.req("ACC-6.time", "TIME-1.categories")
async def test_a_server_that_never_answers_is_given_up_in_time_and_its_connection_closed(client: HttpClient) -> None:
    async with serve(never_answer) as server:
        failure = await failure_of(client.request(HttpRequest(url=server.url, timeout_seconds=0.1)))
        await asyncio.wait_for(server.client_left.wait(), 5)
    assert outcome(failure) == ("timeout", "timeout", True)
    assert "longer than 0.1 s" in failure.message


@pytest.mark.req("ACC-6.time")
async def test_headers_or_a_body_that_trickle_do_not_extend_the_time(client: HttpClient) -> None:
    async def trickle_headers(connection: Connection) -> None:
        await connection.read_request()
        await connection.send("HTTP/1.1 200 OK\r\n")
        while True:
            await connection.send("X: y\r\n")
            await asyncio.sleep(0.01)

    async def trickle_body(connection: Connection) -> None:
        await connection.read_request()
        await connection.send("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while True:
            await connection.send("x")
            await asyncio.sleep(0.01)

    for behaviour in (trickle_headers, trickle_body):
        async with serve(behaviour) as server:
            failure = await failure_of(client.request(HttpRequest(url=server.url, timeout_seconds=0.15)))
        assert failure.sent is True
        # Many small headers may also meet the bound on their number first.
        assert failure.code in {"timeout", "invalid_response"}


@pytest.mark.req("TIME-1.categories")
async def test_a_refused_connection_is_known_not_to_have_been_sent(client: HttpClient) -> None:
    async with serve(always()) as server:
        pass
    failure = await failure_of(client.request(HttpRequest(url=server.url, method="POST")))
    assert outcome(failure) == ("connection", "connection_failed", False)
    assert "Connection refused" in failure.message


@pytest.mark.req("TIME-1.categories")
async def test_a_connection_lost_before_or_within_the_answer_may_have_been_sent(client: HttpClient) -> None:
    async def drop_before(connection: Connection) -> None:
        await connection.read_request()

    async def drop_within_headers(connection: Connection) -> None:
        await connection.read_request()
        await connection.send("HTTP/1.1 200 OK\r\nContent-")

    async def drop_within_body(connection: Connection) -> None:
        await connection.read_request()
        await connection.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n0123456789")

    async def drop_within_chunks(connection: Connection) -> None:
        await connection.read_request()
        await connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")

    for behaviour in (drop_before, drop_within_headers, drop_within_body, drop_within_chunks):
        for method in ("GET", "POST"):
            async with serve(behaviour) as server:
                failure = await failure_of(client.request(HttpRequest(url=server.url, method=method)))
            assert outcome(failure) == ("connection", "connection_lost", True), behaviour.__name__
            # aiohttp alone would send the GET again without telling.
            assert len(server.requests) == 1, (behaviour.__name__, method)


def close_kept_connection(connection_that_closes: int) -> object:
    async def behaviour(connection: Connection) -> None:
        if connection.number == connection_that_closes:
            await connection.read_request()
            await connection.answer("first")
            await connection.read_request()
            return
        await always("second")(connection)

    return behaviour


@pytest.mark.req("TIME-1.resend")
@pytest.mark.parametrize(
    ("fields", "is_sent_again"),
    [
        ({"method": "GET"}, True),
        ({"method": "PUT", "json": {"a": 1}}, True),
        ({"method": "POST", "json": {"a": 1}}, False),
        ({"method": "GET", "idempotent": False}, False),
        ({"method": "POST", "body": b"x", "idempotent": True}, True),
    ],
)
async def test_only_idempotent_requests_are_sent_again_when_a_kept_connection_was_stale(
    client: HttpClient, fields: dict[str, object], is_sent_again: bool
) -> None:
    async with serve(close_kept_connection(1)) as server:  # pyright: ignore[reportArgumentType]
        await client.request(HttpRequest(url=server.url))
        call = client.request(HttpRequest(url=server.url, **fields))  # pyright: ignore[reportArgumentType]
        if is_sent_again:
            assert (await call).content == b"second"
            assert server.requests[1] == server.requests[2]
        else:
            assert outcome(await failure_of(call)) == ("connection", "connection_lost", True)
            assert len(server.requests) == 2


@pytest.mark.req("TIME-1.categories")
async def test_an_answer_that_is_not_http_is_told_as_such(client: HttpClient) -> None:
    async def speaks_smtp(connection: Connection) -> None:
        await connection.read_request()
        await connection.send("220 mail.test ESMTP\r\n\r\n")
        await connection.wait_until_closed()

    async with serve(speaks_smtp) as server:
        failure = await failure_of(client.request(HttpRequest(url=server.url)))
    assert outcome(failure) == ("connection", "invalid_response", True)
    assert "mail.test" not in failure.message


@pytest.mark.req("TIME-1.categories")
async def test_malformed_chunks_and_headers_beyond_all_measure_are_told_as_failures(client: HttpClient) -> None:
    head = "HTTP/1.1 200 OK\r\n"
    for answer in (
        head + "Transfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n",
        head + "Content-Length: nine\r\n\r\n",
        head + "Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        head + f"X: {'y' * 100_000}\r\n\r\n",
        head + "X: y\r\n" * 10_000 + "\r\n",
        head + "No colon\r\n\r\n",
    ):

        async def behaviour(connection: Connection, answer: str = answer) -> None:
            await connection.read_request()
            await connection.send(answer)
            await connection.wait_until_closed()

        async with serve(behaviour) as server:
            failure = await failure_of(client.request(HttpRequest(url=server.url, timeout_seconds=5)))
        assert failure.category == "connection", answer[:60]
        assert failure.sent is True


@pytest.mark.req("PROV-9.headers")
async def test_long_headers_that_real_servers_send_are_taken(client: HttpClient) -> None:
    async with serve(always(headers=[f"Content-Security-Policy: {'x' * 12_000}"])) as server:
        response = await client.request(HttpRequest(url=server.url))
    assert response.header("content-security-policy") == "x" * 12_000


@pytest.mark.req("ACC-6.size")
async def test_a_body_over_the_limit_is_not_read_on(client: HttpClient) -> None:
    sent = 0

    async def endless(connection: Connection) -> None:
        nonlocal sent
        await connection.read_request()
        await connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            await connection.send(b"10000\r\n" + b"x" * 65536 + b"\r\n")
            sent += 65536

    async with serve(endless) as server:
        failure = await failure_of(client.request(HttpRequest(url=server.url, max_body_bytes=100_000)))
    assert outcome(failure) == ("validation", "body_too_large", True)
    # What is on its way in socket buffers counts too; an unbounded read would never have ended.
    assert sent < 50_000_000


@pytest.mark.req("ACC-6.size")
async def test_a_body_announced_as_too_large_is_refused_unread_and_one_of_exactly_the_limit_is_taken(
    client: HttpClient,
) -> None:
    async with serve(always(b"x" * 1000)) as server:
        exact = await client.request(HttpRequest(url=server.url, max_body_bytes=1000))
        failure = await failure_of(client.request(HttpRequest(url=server.url, max_body_bytes=999)))
    assert exact.size_bytes == 1000
    assert failure.code == "body_too_large"


@pytest.mark.req("PROV-9.method")
async def test_head_has_no_body_however_large_it_says_it_would_be(client: HttpClient) -> None:
    async def answers_head(connection: Connection) -> None:
        await connection.read_request()
        await connection.send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        await connection.wait_until_closed()

    async with serve(answers_head) as server:
        response = await client.request(HttpRequest(url=server.url, method="HEAD", max_body_bytes=10))
    assert (response.body, response.header("content-length")) == (None, "1000")


@pytest.mark.req("ACC-6.size")
async def test_a_compressed_body_is_limited_by_what_it_unpacks_to(client: HttpClient) -> None:
    bomb = gzip.compress(b"0" * 50_000_000)
    assert len(bomb) < 100_000
    async with serve(always(bomb, headers=["Content-Encoding: gzip"])) as server:
        failure = await failure_of(client.request(HttpRequest(url=server.url)))
    assert outcome(failure) == ("validation", "body_too_large", True)
    async with serve(always(gzip.compress(b"hello"), headers=["Content-Encoding: gzip"])) as server:
        assert (await client.request(HttpRequest(url=server.url))).content == b"hello"


@pytest.mark.req("TIME-1.categories")
async def test_a_body_that_is_not_compressed_as_announced_is_the_servers_mistake(client: HttpClient) -> None:
    async with serve(always(b"plainly not gzip", headers=["Content-Encoding: gzip"])) as server:
        failure = await failure_of(client.request(HttpRequest(url=server.url)))
    assert outcome(failure) == ("validation", "body_undecodable", True)


@pytest.mark.req("ACC-6.size")
async def test_limits_that_a_request_asks_for_are_bounded_themselves(client: HttpClient) -> None:
    bad: list[dict[str, float]] = [
        {"timeout_seconds": 0}, {"timeout_seconds": float("nan")}, {"connect_timeout_seconds": -1.0},
    ]  # fmt: skip
    for fields in bad:
        failure = await failure_of(client.request(HttpRequest(url="http://127.0.0.1:1/", **fields)))  # pyright: ignore[reportArgumentType]
        assert outcome(failure) == ("validation", "bad_limit", False)
    failure = await failure_of(client.request(HttpRequest(url="http://127.0.0.1:1/", max_body_bytes=1 << 40)))
    assert outcome(failure) == ("validation", "bad_limit", False)


@pytest.mark.req("PROV-9.redirects")
async def test_redirects_are_followed_and_counted(client: HttpClient) -> None:
    async def behaviour(connection: Connection) -> None:
        while (request := await connection.read_request()) is not None:
            if request.startswith("POST /start"):
                await connection.answer("moved", status="303 See Other", headers=["Location: /end?x=1"])
            else:
                await connection.answer("here")

    async with serve(behaviour) as server:
        response = await client.request(HttpRequest(url=f"{server.url}/start", method="POST", json={}))
        unfollowed = await client.request(HttpRequest(url=f"{server.url}/start", method="POST", follow_redirects=False))
    assert (response.content, response.redirects, response.method) == (b"here", 1, "GET")
    assert response.url == f"{server.url}/end?x=1"
    assert (unfollowed.status, unfollowed.content) == (303, b"moved")
    assert server.connections == 1


@pytest.mark.req("PROV-9.redirects", "ACC-6.redirects")
async def test_a_redirect_loop_ends_after_ten(client: HttpClient) -> None:
    async with serve(always(status="302 Found", headers=["Location: /again?token=s3cr3t"])) as server:
        failure = await failure_of(client.request(HttpRequest(url=server.url)))
    assert outcome(failure) == ("validation", "too_many_redirects", True)
    assert len(server.requests) == 11
    assert "s3cr3t" not in failure.message


@pytest.mark.req("ACC-6.redirects")
async def test_a_secret_does_not_follow_a_redirect_to_another_origin_but_the_body_of_a_307_does(
    client: HttpClient,
) -> None:
    async with serve(always()) as other:
        location = [f"Location: {other.url}/there"]
        async with serve(always(status="307 Temporary Redirect", headers=location)) as server:
            await client.request(
                HttpRequest(method="POST", url=server.url, body="data", auth=BearerAuth(token="t0ken"))
            )
    assert "Bearer t0ken" in server.requests[0]
    assert "t0ken" not in other.requests[0]
    assert other.requests[0].startswith("POST /there")
    assert other.requests[0].endswith("data")


# Egress: 127.0.0.2 is what the policy allows, 127.0.0.3 stands for what it does not, and a server listens on both.

ONE_ALIAS = EgressPolicy.server(["127.0.0.2"])


@pytest.mark.req("ACC-6.dns")
async def test_a_name_is_judged_by_the_address_it_resolves_to() -> None:
    resolver = FakeResolver({"good.test": [["127.0.0.2"]], "evil.test": [["127.0.0.3"]]})
    async with (
        serve(always("allowed"), host="127.0.0.2") as allowed,
        serve(always("forbidden"), host="127.0.0.3") as forbidden,
        HttpClient(policy=ONE_ALIAS, resolver=resolver) as client,
    ):
        response = await client.request(HttpRequest(url=f"http://good.test:{allowed.port}/"))
        failure = await failure_of(client.request(HttpRequest(url=f"http://evil.test:{forbidden.port}/")))
    assert response.content == b"allowed"
    assert isinstance(failure, EgressRefusedError)
    assert outcome(failure) == ("validation", "egress_refused", False)
    assert "add evil.test to SEGUE_EGRESS_ALLOW" in failure.message
    assert "127.0.0.3" not in failure.message
    assert forbidden.connections == 0


@pytest.mark.req("ACC-6.dns")
@pytest.mark.parametrize("host", ["127.0.0.3", "[::ffff:127.0.0.3]", "[::ffff:7f00:3]", "0x7f.3", "0177.0.0.3"])
async def test_literal_addresses_are_judged_in_every_spelling(host: str) -> None:
    async with (
        serve(always(), host="127.0.0.3") as forbidden,
        HttpClient(policy=ONE_ALIAS) as client,
    ):
        failure = await failure_of(client.request(HttpRequest(url=f"http://{host}:{forbidden.port}/")))
    assert failure.category == "validation"
    assert failure.code in {"egress_refused", "bad_url"}
    assert failure.sent is False
    assert forbidden.connections == 0


@pytest.mark.req("ACC-6.redirects")
@pytest.mark.parametrize("host", ["127.0.0.3", "evil.test"])
async def test_a_redirect_to_a_refused_place_is_not_followed(host: str) -> None:
    resolver = FakeResolver({"evil.test": [["127.0.0.3"]]})
    async with serve(always(), host="127.0.0.3") as forbidden:
        location = [f"Location: http://{host}:{forbidden.port}/"]
        async with (
            serve(always(status="302 Found", headers=location), host="127.0.0.2") as server,
            HttpClient(policy=ONE_ALIAS, resolver=resolver) as client,
        ):
            failure = await failure_of(client.request(HttpRequest(url=server.url)))
    assert isinstance(failure, EgressRefusedError)
    assert failure.sent is True  # the first request was
    assert (len(server.requests), forbidden.connections) == (1, 0)


@pytest.mark.req("ACC-6.dns")
async def test_a_name_that_changes_its_address_is_judged_again() -> None:
    resolver = FakeResolver({"rebind.test": [["127.0.0.2"], ["127.0.0.3"]]})

    async def once(connection: Connection) -> None:
        await connection.read_request()
        await connection.answer("ok", close=True)

    async with (
        serve(once, host="127.0.0.2") as allowed,
        serve(always(), host="127.0.0.3", port=allowed.port) as forbidden,
        HttpClient(policy=ONE_ALIAS, resolver=resolver, limits=HttpLimits(resolve_cache_seconds=0)) as client,
    ):
        request = HttpRequest(url=f"http://rebind.test:{allowed.port}/")
        assert (await client.request(request)).content == b"ok"
        failure = await failure_of(client.request(request))
    assert isinstance(failure, EgressRefusedError)
    assert forbidden.connections == 0


@pytest.mark.req("ACC-6.dns")
async def test_of_several_addresses_only_allowed_ones_are_tried() -> None:
    resolver = FakeResolver({"mixed.test": [["127.0.0.3", "127.0.0.2"]]})
    async with (
        serve(always("allowed"), host="127.0.0.2") as allowed,
        serve(always(), host="127.0.0.3", port=allowed.port) as forbidden,
        HttpClient(policy=ONE_ALIAS, resolver=resolver) as client,
    ):
        response = await client.request(HttpRequest(url=f"http://mixed.test:{allowed.port}/"))
    assert response.content == b"allowed"
    assert forbidden.connections == 0


@pytest.mark.req("ACC-6.dns")
async def test_an_allowed_name_may_lead_to_a_private_place() -> None:
    resolver = FakeResolver({"db.internal": [["127.0.0.3"]]})
    async with (
        serve(always("hello"), host="127.0.0.3") as server,
        HttpClient(policy=EgressPolicy.server(["db.internal"]), resolver=resolver) as client,
    ):
        assert (await client.request(HttpRequest(url=f"http://db.internal:{server.port}/"))).content == b"hello"
        failure = await failure_of(client.request(HttpRequest(url=server.url)))
    assert isinstance(failure, EgressRefusedError)


@pytest.mark.req("TIME-1.categories")
async def test_a_name_without_address_and_a_resolver_that_hangs_are_dns_failures() -> None:
    class Hanging:
        async def resolve(self, host: str) -> list[str]:
            await asyncio.Event().wait()
            raise AssertionError(host)

    limits = HttpLimits(resolve_timeout_seconds=0.05)
    for resolver in (FakeResolver({}), FakeResolver({"gone.test": [[]]}), Hanging()):
        async with HttpClient(policy=EgressPolicy.local(), resolver=resolver, limits=limits) as client:
            failure = await failure_of(client.request(HttpRequest(url="https://gone.test/")))
        assert outcome(failure) == ("dns", "name_not_resolved", False)
        assert "gone.test" in failure.message


@pytest.mark.req("TIME-1.categories")
@pytest.mark.parametrize("host", ["a" * 64 + ".test", "a..test", "localhost"])
async def test_the_systems_own_resolver_answers_for_localhost_and_fails_for_what_is_no_name(
    client: HttpClient, host: str
) -> None:
    async with serve(always()) as server:
        call = client.request(HttpRequest(url=f"http://{host}:{server.port}/"))
        if host == "localhost":
            assert (await call).status == 200
        else:
            assert (await failure_of(call)).category in {"dns", "validation"}


@pytest.mark.req("ACC-6.time")
async def test_waiting_for_a_free_connection_is_bounded_and_nothing_was_sent() -> None:
    limits = HttpLimits(connections_max=1)
    async with serve(never_answer) as server, HttpClient(policy=EgressPolicy.local(), limits=limits) as client:
        first = asyncio.create_task(client.request(HttpRequest(url=server.url)))
        await server.request_came.wait()
        failure = await failure_of(client.request(HttpRequest(url=server.url, method="POST", timeout_seconds=0.1)))
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
    assert outcome(failure) == ("timeout", "timeout", False)
    assert len(server.requests) == 1


@pytest.mark.req("ACC-6.time")
async def test_cancelling_a_call_closes_its_connection(client: HttpClient) -> None:
    async with serve(never_answer) as server:
        task = asyncio.create_task(client.request(HttpRequest(url=server.url)))
        await server.request_came.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(server.client_left.wait(), 5)


# TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for 127.0.0.1 and good.test, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "segue test")])
    start = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    names: list[x509.GeneralName] = [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("good.test")]
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=36_500))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "certificate.pem"
    key_bytes = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(built.public_bytes(serialization.Encoding.PEM) + key_bytes)
    return path


def server_tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


@pytest.mark.req("TIME-1.categories")
async def test_a_certificate_that_is_not_trusted_or_names_another_host_is_refused_before_sending(
    certificate: Path,
) -> None:
    trusting = ssl.create_default_context(cafile=str(certificate))
    resolver = FakeResolver({"good.test": [["127.0.0.1"]], "other.test": [["127.0.0.1"]]})
    local = EgressPolicy.local()
    async with (
        serve(always("secure"), tls=server_tls(certificate)) as server,
        HttpClient(policy=local, resolver=resolver) as client,
        HttpClient(policy=local, resolver=resolver, ssl_context=trusting) as trusting_client,
    ):
        untrusted = await failure_of(client.request(HttpRequest(url=server.url)))
        misnamed = await failure_of(trusting_client.request(HttpRequest(url=f"https://other.test:{server.port}/")))
        response = await trusting_client.request(HttpRequest(url=f"https://good.test:{server.port}/"))
    assert outcome(untrusted) == ("tls", "certificate_invalid", False)
    assert outcome(misnamed) == ("tls", "certificate_invalid", False)
    assert response.content == b"secure"
    assert len(server.requests) == 1


@pytest.mark.req("TIME-1.categories")
async def test_tls_to_a_plain_port_is_a_tls_failure_and_nothing_was_sent(client: HttpClient) -> None:
    async def answers_in_plain_text(connection: Connection) -> None:
        await connection.reader.read(1)
        await connection.send("HTTP/1.1 400 Bad Request\r\n\r\n")

    async with serve(answers_in_plain_text) as server:
        failure = await failure_of(client.request(HttpRequest(url=server.url.replace("http:", "https:"))))
    assert outcome(failure) == ("tls", "tls_failed", False)


@pytest.mark.req("ACC-6.time")
async def test_a_handshake_that_hangs_is_a_connect_timeout(client: HttpClient) -> None:
    async def says_nothing(connection: Connection) -> None:
        await connection.wait_until_closed()

    async with serve(says_nothing) as server:
        url = server.url.replace("http:", "https:")
        failure = await failure_of(client.request(HttpRequest(url=url, connect_timeout_seconds=0.1)))
    assert outcome(failure) == ("timeout", "connect_timeout", False)


# Life of the client


@pytest.mark.req("ACC-5.errors")
async def test_secrets_of_a_url_do_not_reach_the_failure(client: HttpClient) -> None:
    async with serve(always()) as server:
        pass
    url = f"http://user:s3cr3t@127.0.0.1:{server.port}/x?api_key=s3cr3t&page=2#access_token=s3cr3t"
    failure = await failure_of(client.request(HttpRequest(url=url)))
    assert "s3cr3t" not in f"{failure} {failure.details}"
    assert "page=2" in failure.message


async def test_a_closed_client_says_so_and_closing_twice_is_harmless() -> None:
    client = HttpClient(policy=EgressPolicy.local())
    await client.close()
    await client.close()
    with pytest.raises(EngineError, match="closed"):
        await client.request(HttpRequest(url="http://127.0.0.1:1/"))


async def test_a_large_request_body_arrives_whole(client: HttpClient) -> None:
    async with serve(always()) as server:
        await client.request(HttpRequest(url=server.url, method="PUT", body="x" * 2_000_000))
    assert server.requests[0].endswith("\r\n\r\n" + "x" * 2_000_000)


async def test_many_calls_at_once_do_not_mix_their_answers(client: HttpClient) -> None:
    async def echo(connection: Connection) -> None:
        while (request := await connection.read_request()) is not None:
            await connection.answer(request.split(" ")[1])

    async with serve(echo) as server:
        responses = await asyncio.gather(
            *(client.request(HttpRequest(url=f"{server.url}/{number}")) for number in range(100))
        )
    assert [response.content.decode() for response in responses] == [f"/{number}" for number in range(100)]
    assert server.connections <= HttpLimits().connections_per_host_max
