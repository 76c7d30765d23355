"""What a webhook takes over HTTP beside its proof: how often, how much, of which types; and how it proves itself."""

from __future__ import annotations

import gzip
import random
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from acceptance.api_support import Served, ShiftedClock, problem, serve
from segue.triggers.incoming import Content, Incoming

pytestmark = [pytest.mark.anyio]

FLOWS = {
    "rated": """
flow: rated
trigger: {webhook: {auth: {type: token, header: x-token, secret: "env:HOOK_OF_THE_TEST"}, rate: 3/m}}
steps: [{say: {set: {a: 1}}}]
""",
    "bodies": """
flow: bodies
triggers:
  - {webhook: {auth: none, name: small, max_bytes: 100, encodings: [gzip, deflate], methods: [POST, HEAD]}}
  - {webhook: {auth: none, name: large, max_bytes: 3000000}}
  - {webhook: {auth: none, name: json, content_types: [application/json, text/*]}}
steps: [{say: {set: {body: $trigger.body}}}]
outputs: $say.body
""",
    "shaken": """
flow: shaken
trigger: {webhook: {auth: github, challenge: {query: hub.challenge}}}
steps: [{say: {set: {a: 1}}}]
""",
    "computed": """
flow: computed
triggers:
  - {webhook: {auth: none, name: pair, dedupe: "{{ data.order }}/{{ data.line }}"}}
  - {webhook: {auth: none, name: never, dedupe: false}}
  - {webhook: {auth: none, name: map, dedupe: $data.key}}
steps: [{say: {set: {a: 1}}}]
""",
    "hidden": """
flow: hidden
trigger: {webhook: {auth: none}}
masking: [iban]
steps: [{say: {set: {a: 1}}}]
""",
    "alone": """
flow: alone
trigger: {webhook: {auth: none, dedupe: {field: id}}}
limits: {concurrency: 1, on_full: replace}
steps: [{hold: {wait: 1h}}]
""",
}


@pytest.fixture
async def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Served]:
    monkeypatch.setenv("HOOK_OF_THE_TEST", "the-token")
    folder = tmp_path / "flows"
    folder.mkdir()
    for name, text in FLOWS.items():
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    async with serve(f"sqlite:///{tmp_path / 'x.db'}", folders=(folder,), clock=ShiftedClock()) as made:
        yield made


async def address(served: Served, flow: str, name: str = "webhook") -> str:
    found = (await served.get(f"/api/v1/triggers?flow={flow}"))["triggers"]
    return next(one["address"] for one in found if one["name"] == name)


async def send(served: Served, address: str, method: str = "POST", **more: Any) -> Any:
    async with served.anyone() as sender:
        return await sender.request(method, address, **more)


async def runs(served: Served, flow: str) -> list[dict[str, Any]]:
    return (await served.get(f"/api/v1/runs?flow={flow}"))["runs"]


@pytest.mark.req("TRIG-1.rate")
async def test_more_deliveries_than_a_webhooks_rate_are_told_when_to_come_again(served: Served) -> None:
    where, token = await address(served, "rated"), {"x-token": "the-token"}
    for _ in range(5):  # whoever proves nothing uses nothing up
        assert (await send(served, where, headers={"x-token": "wrong"})).status_code == 403
    for number in range(3):
        assert (await send(served, where, headers=token, content=str(number))).status_code == 202

    answer = await send(served, where, headers=token)

    assert "3 deliveries in 60 s" in problem(answer, 429, "too-many-requests")["detail"]
    assert 50 <= int(answer.headers["retry-after"]) <= 60
    assert len(await runs(served, "rated")) == 3
    newest = (await served.get("/api/v1/deliveries?limit=1"))["deliveries"][0]
    assert (newest["verdict"], newest["reason"]) == ("refused", "rate")
    for _ in range(20):
        assert (await send(served, where, headers=token)).status_code == 429
    refused = (await served.get("/api/v1/deliveries?verdict=refused&limit=100"))["deliveries"]
    assert len([one for one in refused if one["reason"] == "rate"]) == 1


@pytest.mark.req("TRIG-1.size")
async def test_a_body_is_as_large_as_its_webhook_takes_compressed_or_not(served: Served) -> None:
    small, large = await address(served, "bodies", "small"), await address(served, "bodies", "large")
    told = problem(await send(served, small, content=b"x" * 101), 413, "too-large")["detail"]
    assert "100 bytes" in told
    assert (await send(served, small, content=b"x" * 100)).status_code == 202
    assert (await send(served, large, content=b"x" * 2_500_000)).status_code == 202
    assert "3,000,000 bytes" in problem(await send(served, large, content=b"x" * 3_000_001), 413, "too-large")["detail"]
    unknown = f"http://127.0.0.1:{served.port}/hooks/default/bodies/nobody"
    problem(await send(served, unknown, content=b"x" * 1_100_000), 413, "too-large")

    bomb = gzip.compress(b"\0" * 50_000_000)
    assert len(bomb) > 100
    packed = zlib.compress(b"\0" * 10_000)
    assert len(packed) < 100
    answer = await send(served, small, content=packed, headers={"content-encoding": "deflate"})
    problem(answer, 413, "too-large")
    for encoding, body in (("gzip", gzip.compress(b'{"a": 1}')), ("deflate", zlib.compress(b'{"a": 1}'))):
        answer = await send(
            served, small, content=body, headers={"content-encoding": encoding, "content-type": "application/json"}
        )
        assert answer.status_code == 202, answer.text
        assert (await served.until(answer.json()["run_id"]))["outputs"] == {"a": 1}
        kept = await served.get(f"/api/v1/deliveries/{answer.json()['delivery_id']}")
        assert (kept["body"], kept["body_bytes"]) == ('{"a": 1}', 8)
        again = await served.client.post(f"/api/v1/deliveries/{kept['id']}/replay")
        assert (await served.until(again.json()["run_id"]))["outputs"] == {"a": 1}
    for broken in (b"no gzip", gzip.compress(b"{}")[:-3], gzip.compress(b"{}") + b"x"):
        problem(await send(served, small, content=broken, headers={"content-encoding": "gzip"}), 400, "bad-body")
    problem(await send(served, small, content=b"x", headers={"content-encoding": "br"}), 415, "unsupported-encoding")
    problem(await send(served, large, content=b"x", headers={"content-encoding": "gzip"}), 415, "unsupported-encoding")


@pytest.mark.req("TRIG-1.types")
async def test_only_the_content_types_of_the_webhook_are_taken(served: Served) -> None:
    where = await address(served, "bodies", "json")
    for kind in ("application/json", "application/json; charset=utf-8", "text/plain"):
        assert (await send(served, where, content=b'{"a": 1}', headers={"content-type": kind})).status_code == 202
    assert (await send(served, where)).status_code == 202  # nothing is of no type
    for kind in ("application/x-www-form-urlencoded", "image/png", ""):
        answer = await send(served, where, content=b"a=1", headers={"content-type": kind})
        assert "application/json, text/*" in problem(answer, 415, "unsupported-type")["detail"]


@pytest.mark.req("TRIG-1.types")
async def test_a_form_with_files_is_a_map_of_its_fields(served: Served) -> None:
    where = await address(served, "bodies", "large")
    octets = random.Random(7).randbytes(20_000) + b"\r\n--x\r\n\n\r"
    files = [
        ("doc", ("ä b.bin", octets, "application/octet-stream")), ("note", (None, "über\r\nzwei Zeilen")),
        ("note", (None, "second")), ("empty", ("none.txt", b"", "text/plain")),
    ]  # fmt: skip
    answer = await send(served, where, files=files)

    assert answer.status_code == 202, answer.text
    outputs = (await served.until(answer.json()["run_id"]))["outputs"]
    assert outputs["note"] == ["über\r\nzwei Zeilen", "second"]
    assert outputs["empty"] == {"filename": "none.txt", "content_type": "text/plain", "bytes": 0, "base64": ""}
    import base64

    assert base64.b64decode(outputs["doc"]["base64"]) == octets
    assert outputs["doc"]["filename"] == "ä b.bin"
    again = await served.client.post(f"/api/v1/deliveries/{answer.json()['delivery_id']}/replay")
    assert (await served.until(again.json()["run_id"]))["outputs"] == outputs
    for kind, body in (
        ("multipart/form-data", b"--x\r\n\r\n--x--"), ("multipart/form-data; boundary=x", b"nothing"),
        ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: form-data; name=a\r\n\r\n1"),
        ("multipart/form-data; boundary=x", b"--x\r\n\r\n1\r\n--x--\r\n"),
    ):  # fmt: skip
        problem(await send(served, where, content=body, headers={"content-type": kind}), 400, "bad-body")


@pytest.mark.req("TRIG-1.methods")
async def test_a_probe_and_a_handshake_start_nothing(served: Served) -> None:
    small = await address(served, "bodies", "small")
    assert (await send(served, small, "HEAD")).status_code == 200
    answer = await send(served, await address(served, "bodies", "large"), "PUT")
    problem(answer, 405, "method-not-allowed")
    assert answer.headers["allow"] == "POST"
    where = await address(served, "shaken")
    asked = "?hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token=x"
    for path in (where, f"http://127.0.0.1:{served.port}/hooks/default/shaken"):
        answer = await send(served, path + asked, "GET")
        assert (answer.status_code, answer.text) == (200, "1158201444")
        assert answer.headers["content-type"].startswith("text/plain")
    problem(await send(served, where, "GET"), 405, "method-not-allowed")
    problem(await send(served, where + "?hub.challenge=<script>", "GET"), 400, "bad-request")
    problem(await send(served, where, content=b"{}"), 403, "bad-signature")
    assert await runs(served, "bodies") + await runs(served, "shaken") == []


@pytest.mark.req("TRIG-1.dedupe")
async def test_what_two_deliveries_have_in_common_can_be_computed_or_left_out(served: Served) -> None:
    async def sent(name: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = await send(served, await address(served, "computed", name), json=body)
        assert answer.status_code == 202, answer.text
        return answer.json()

    first = await sent("pair", {"order": 1, "line": 2, "x": 1})
    assert await sent("pair", {"order": 1, "line": 2, "x": 2}) == first
    assert await sent("pair", {"order": 1, "line": 3}) != first
    for name in ("never", "map"):
        assert await sent(name, {"key": None}) != await sent(name, {"key": None})
    first = await sent("map", {"key": {"b": 1, "a": "x" * 1000}})
    assert await sent("map", {"key": {"a": "x" * 1000, "b": 1}}) == first


@pytest.mark.req("TRIG-1.kept", "ACC-5.deliveries")
async def test_deliveries_end_with_their_time_and_hide_what_their_flow_hides(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = await address(served, "hidden")
    taken = (await send(served, where, json={"iban": "DE02 1203 0000 0000 2020 51", "n": 1})).json()
    shown = await served.get(f"/api/v1/deliveries/{taken['delivery_id']}")
    assert "2020 51" not in shown["body"]

    for number in range(1_100):
        await served.host.triggers.intake.take(
            Incoming(
                workspace="default", flow_id="hidden", random=where.rpartition("/")[2], method="POST", headers=[],
                query=[], body=b"%d" % number,
            ),
            lambda _, body: Content(body.decode()),
        )  # fmt: skip
    monkeypatch.setattr(ShiftedClock, "shift_ms", 29 * 86_400_000)
    await served.host.triggers.drop_old()
    assert (await served.get(f"/api/v1/deliveries/{taken['delivery_id']}"))["id"] == taken["delivery_id"]
    monkeypatch.setattr(ShiftedClock, "shift_ms", 31 * 86_400_000)
    await served.host.triggers.drop_old()
    assert (await served.get("/api/v1/deliveries"))["deliveries"] == []


@pytest.mark.req("TRIG-1.dedupe")
async def test_a_repeated_delivery_does_not_replace_the_run_of_the_first(served: Served) -> None:
    where = await address(served, "alone")
    first = (await send(served, where, json={"id": "one"})).json()

    assert (await send(served, where, json={"id": "one"})).json() == first

    assert [one["status"] for one in await runs(served, "alone")] == ["waiting"]
    assert (await send(served, where, json={"id": "two"})).json()["run_id"] != first["run_id"]
    assert (await served.until(first["run_id"]))["status"] == "cancelled"
