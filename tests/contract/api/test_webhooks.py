"""Webhooks over HTTP: who is let in, what is kept, what is answered."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from acceptance.api_support import Served, ShiftedClock, problem, serve

pytestmark = [pytest.mark.anyio]

FLOWS = {
    "paid": """
flow: paid
trigger: {webhook: {auth: stripe}}
inputs: {id: string, amount: {type: integer, default: 1}}
steps: [{say: {set: {got: $inputs.id, all: $trigger.body}}}]
outputs: {got: $say.got}
""",
    "own": """
flow: own
trigger: {webhook: {auth: github, path: orders, schema: {type: object, required: [n]}}}
steps: [{say: {set: {n: $trigger.body.n}}}]
outputs: $say.n
""",
    "open": """
flow: open
trigger: {webhook: {auth: none, methods: [GET, POST, PUT]}, when: "$trigger.query.skip != 'yes'"}
steps: [{say: {set: {body: $trigger.body, query: $trigger.query, auth: $trigger.headers.authorization}}}]
outputs: {body: $say.body, query: $say.query}
""",
    "guarded": """
flow: guarded
trigger: webhook.received
steps: [{say: {set: {a: 1}}}]
""",
    "chat": """
flow: chat
trigger: {webhook: {auth: slack}}
steps: [{say: {set: {a: $trigger.body.event.text}}}]
""",
    "asked": """
flow: asked
triggers:
  - {webhook: {auth: none, name: flow, respond: flow}}
  - {webhook: {auth: none, name: result, respond: result, methods: PUT}}
  - {webhook: {auth: none, name: slow, respond: result, timeout: 50ms, methods: PATCH}}
steps:
  - pause: {wait: 300ms, when: "$trigger.method == 'PATCH'"}
  - say: {respond: {status: 201, body: {sum: "{{ $trigger.body.a + 1 }}"}}}
outputs: {sum: "{{ $trigger.body.a + 1 }}"}
""",
}


def stripe(secret: str, body: bytes, at: float | None = None) -> dict[str, str]:
    stamp = int(at or time.time())
    proof = hmac.new(secret.encode(), b"%d.%s" % (stamp, body), hashlib.sha256).hexdigest()
    return {"stripe-signature": f"t={stamp},v1={proof}", "content-type": "application/json"}


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    folder = tmp_path / "flows"
    folder.mkdir()
    for name, text in FLOWS.items():
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    async with serve(f"sqlite:///{tmp_path / 'x.db'}", folders=(folder,), clock=ShiftedClock()) as made:
        yield made


async def hook(served: Served, flow: str, name: str = "webhook") -> dict[str, Any]:
    found = (await served.get(f"/api/v1/triggers?flow={flow}"))["triggers"]
    return next(one for one in found if one["name"] == name)


async def secret_of(served: Served, trigger: dict[str, Any]) -> str:
    answer = await served.client.post(f"/api/v1/triggers/{trigger['id']}/secrets")
    assert answer.status_code == 201, answer.text
    return answer.json()["secret"]


async def runs(served: Served, flow: str) -> list[dict[str, Any]]:
    return (await served.get(f"/api/v1/runs?flow={flow}"))["runs"]


async def last_delivery(served: Served) -> dict[str, Any]:
    newest = (await served.get("/api/v1/deliveries?limit=1"))["deliveries"][0]
    return await served.get(f"/api/v1/deliveries/{newest['id']}")


@pytest.mark.req("TRIG-1.signed", "TRIG-1.stored")
async def test_a_signed_delivery_starts_a_run_and_is_kept_with_it(served: Served) -> None:
    trigger = await hook(served, "paid")
    secret = await secret_of(served, trigger)
    body = b'{"id": "evt_1", "amount": 5}'
    async with served.anyone() as sender:
        answer = await sender.post(trigger["address"], content=body, headers=stripe(secret, body))

    assert answer.status_code == 202, answer.text
    run = await served.until(answer.json()["run_id"])
    assert run["outputs"] == {"got": "evt_1"}
    kept = await last_delivery(served)
    assert kept["run_id"] == answer.json()["run_id"]
    assert kept["id"] == answer.json()["delivery_id"]
    assert (kept["verdict"], kept["reason"], kept["body"]) == ("accepted", "ok", body.decode())
    assert kept["headers"]["stripe-signature"] == "***"
    fresh = await hook(served, "paid")
    assert (fresh["fired_count"], fresh["last_run_id"]) == (1, answer.json()["run_id"])


@pytest.mark.req("TRIG-1.refused")
async def test_every_bad_proof_is_refused_with_the_same_words_and_its_reason_is_kept(served: Served) -> None:
    trigger = await hook(served, "paid")
    secret = await secret_of(served, trigger)
    body = b'{"id": "evt_1"}'
    good = stripe(secret, body)
    attempts = [
        ({"content-type": "application/json"}, body, "no-signature"),
        (good | {"stripe-signature": "t=1"}, body, "bad-format"),
        (good, body + b" ", "bad-signature"),
        (stripe("whsec_wrong", body), body, "bad-signature"),
        (stripe(secret, body, time.time() - 400), body, "too-old"),
        (stripe(secret, body, time.time() + 400), body, "too-new"),
    ]
    told = set()
    for headers, content, reason in attempts:
        async with served.anyone() as sender:
            answer = await sender.post(trigger["address"], content=content, headers=headers)
        told.add(problem(answer, 403, "bad-signature")["detail"])
        kept = await last_delivery(served)
        assert (kept["verdict"], kept["reason"], kept["run_id"]) == ("refused", reason, None)
    assert len(told) == 1
    assert await runs(served, "paid") == []
    async with served.anyone() as sender:
        answer = await sender.post(trigger["address"], content=body, headers=good | {"content-encoding": "gzip"})
    problem(answer, 415, "unsupported-encoding")


@pytest.mark.req("TRIG-1.dedupe")
async def test_of_many_deliveries_of_one_id_at_once_one_starts_a_run_and_all_have_its_answer(served: Served) -> None:
    trigger = await hook(served, "paid")
    secret = await secret_of(served, trigger)
    body = b'{"id": "evt_1"}'
    async with served.anyone() as sender:
        answers = await asyncio.gather(
            *(sender.post(trigger["address"], content=body, headers=stripe(secret, body)) for _ in range(60))
        )
        later = await sender.post(trigger["address"], content=body, headers=stripe(secret, body, time.time() - 30))

    assert {one.status_code for one in answers} == {202}
    assert len({one.text for one in [*answers, later]}) == 1
    assert len(await runs(served, "paid")) == 1


@pytest.mark.req("TRIG-1.dedupe")
async def test_an_id_is_remembered_for_longer_than_its_sender_tries_again(served: Served) -> None:
    trigger = await hook(served, "paid")
    secret = await secret_of(served, trigger)
    clock = served.host.engine._clock
    assert isinstance(clock, ShiftedClock)
    body = b'{"id": "evt_1"}'
    async with served.anyone() as sender:
        first = await sender.post(trigger["address"], content=body, headers=stripe(secret, body))
        clock.shift_ms = 3 * 86_400_000
        again = await sender.post(trigger["address"], content=body, headers=stripe(secret, body, clock.now() / 1000))

    assert again.status_code == 202
    assert again.text == first.text


@pytest.mark.req("TRIG-1.address")
async def test_an_address_without_its_unguessable_part_needs_a_named_proof(served: Served) -> None:
    trigger, body = await hook(served, "paid"), b'{"id": "evt_1"}'
    secret = await secret_of(served, trigger)
    opened, guarded = await hook(served, "open"), await hook(served, "guarded")
    token = await secret_of(served, guarded)
    async with served.anyone() as sender:
        assert (await sender.post("/hooks/default/paid", content=body, headers=stripe(secret, body))).status_code == 202
        problem(await sender.post("/hooks/default/open", content=body), 404, "not-found")
        bearer = {"authorization": f"Bearer {token}"}
        problem(await sender.post("/hooks/default/guarded", headers=bearer), 404, "not-found")
        problem(await sender.post(opened["address"][:-1] + "A" * 2, content=body), 404, "not-found")
        problem(await sender.post("/hooks/other/paid", content=body, headers=stripe(secret, body)), 404, "not-found")
        assert (await sender.post(guarded["address"], headers=bearer)).status_code == 202
        problem(await sender.post(guarded["address"]), 403, "bad-signature")
        assert (await sender.post(opened["address"], json={})).status_code == 202
        problem(await sender.delete(opened["address"]), 405, "method-not-allowed")
        moved = (await served.client.post(f"/api/v1/triggers/{opened['id']}/address")).json()
        assert moved["address"] != opened["address"]
        problem(await sender.post(opened["address"], json={}), 404, "not-found")


@pytest.mark.req("TRIG-1.bodies")
@pytest.mark.parametrize(
    ("kind", "content", "seen"),
    [
        ("application/json", b'{"a": [1, null]}', {"a": [1, None]}),
        ("application/x-www-form-urlencoded", b"a=1&b=x+y&a=2", {"a": ["1", "2"], "b": "x y"}),
        ("text/plain; charset=utf-8", "grüß".encode(), "grüß"),
        ("application/octet-stream", b"\xff\x00", "/wA="),
        ("application/json", b"", None),
    ],
)
async def test_bodies_are_read_by_their_content_type(served: Served, kind: str, content: bytes, seen: Any) -> None:
    trigger = await hook(served, "open")
    async with served.anyone() as sender:
        headers = {"content-type": kind, "authorization": "Bearer theirs"}
        answer = await sender.put(trigger["address"] + "?q=1", content=content, headers=headers)

    run = await served.until(answer.json()["run_id"])
    assert run["outputs"] == {"body": seen, "query": {"q": "1"}}


@pytest.mark.req("TRIG-1.refused")
async def test_what_is_no_json_or_does_not_fit_the_inputs_is_refused_before_it_is_accepted(served: Served) -> None:
    trigger = await hook(served, "paid")
    secret = await secret_of(served, trigger)
    async with served.anyone() as sender:
        for content, status, slug, reason in (
            (b"{", 400, "bad-body", "body"),
            (b'{"id": 7}', 422, "invalid-input", "inputs"),
        ):
            answer = await sender.post(trigger["address"], content=content, headers=stripe(secret, content))
            problem(answer, status, slug)
            assert (await last_delivery(served))["reason"] == reason
        large = b'{"id": "' + b"x" * 1_100_000 + b'"}'
        problem(await sender.post(trigger["address"], content=large), 413, "too-large")
    assert await runs(served, "paid") == []


@pytest.mark.req("TRIG-2.condition")
async def test_a_delivery_whose_condition_does_not_hold_is_kept_and_starts_nothing(served: Served) -> None:
    trigger = await hook(served, "open")
    async with served.anyone() as sender:
        answer = await sender.post(trigger["address"] + "?skip=yes")

    assert answer.status_code == 202
    assert answer.json()["run_id"] is None
    assert (await last_delivery(served))["verdict"] == "ignored"


@pytest.mark.req("TRIG-1.answers")
async def test_the_answer_comes_from_respond_or_from_the_result_or_says_where_to_look(served: Served) -> None:
    async with served.anyone() as sender:
        said = await sender.post((await hook(served, "asked", "flow"))["address"], json={"a": 1})
        assert (said.status_code, said.json()) == (201, {"sum": 2})
        result = await sender.put((await hook(served, "asked", "result"))["address"], json={"a": 2})
        assert result.status_code == 200
        assert (result.json()["status"], result.json()["outputs"]) == ("succeeded", {"sum": 3})
        slow = await sender.patch((await hook(served, "asked", "slow"))["address"], json={"a": 3})
        assert slow.status_code == 202
        assert slow.headers["location"] == f"/api/v1/runs/{slow.json()['run_id']}"
        await served.until(slow.json()["run_id"])


@pytest.mark.req("TRIG-1.handshake")
async def test_slack_gets_its_challenge_back_only_if_it_is_signed(served: Served) -> None:
    trigger = await hook(served, "chat")
    given = await served.client.post(f"/api/v1/triggers/{trigger['id']}/secrets", json={"secret": "8f74"})
    assert (given.status_code, given.json()["secret"]) == (201, None)
    body = json.dumps({"type": "url_verification", "challenge": "3eZbrw1a"}).encode()
    stamp = str(int(time.time()))
    proof = hmac.new(b"8f74", b"v0:%s:%s" % (stamp.encode(), body), hashlib.sha256).hexdigest()
    headers = {"x-slack-request-timestamp": stamp, "x-slack-signature": f"v0={proof}"}
    async with served.anyone() as sender:
        answer = await sender.post(trigger["address"], content=body, headers=headers)
        refused = await sender.post(trigger["address"], content=body)

    assert (answer.status_code, answer.text) == (200, "3eZbrw1a")
    problem(refused, 403, "bad-signature")
    assert await runs(served, "chat") == []


@pytest.mark.req("TRIG-1.rotation")
async def test_an_old_secret_counts_until_it_retires(served: Served) -> None:
    trigger, body = await hook(served, "paid"), b'{"id": "evt_%d"}'
    old = await secret_of(served, trigger)
    answer = await served.client.post(f"/api/v1/triggers/{trigger['id']}/secrets", json={"overlap": "1h"})
    new = answer.json()["secret"]
    clock = served.host.engine._clock
    assert isinstance(clock, ShiftedClock)

    async def status(number: int, secret: str) -> int:
        content = body % number
        async with served.anyone() as sender:
            headers = stripe(secret, content, clock.now() / 1000)
            return (await sender.post(trigger["address"], content=content, headers=headers)).status_code

    assert [await status(1, old), await status(2, new)] == [202, 202]
    clock.shift_ms = 3_600_001
    assert [await status(3, old), await status(4, new)] == [403, 202]


@pytest.mark.req("TRIG-1.replay")
async def test_a_kept_delivery_can_be_delivered_again_as_a_new_run(served: Served) -> None:
    trigger = await hook(served, "open")
    async with served.anyone() as sender:
        first = (await sender.post(trigger["address"], json={"a": 1})).json()

    again = await served.client.post(f"/api/v1/deliveries/{first['delivery_id']}/replay")

    assert again.status_code == 201
    assert again.json()["run_id"] != first["run_id"]
    assert (await served.until(again.json()["run_id"]))["outputs"]["body"] == {"a": 1}
    kept = await last_delivery(served)
    assert (kept["verdict"], kept["replay_of"]) == ("replayed", first["delivery_id"])


@pytest.mark.req("TRIG-1.capture")
async def test_captured_deliveries_start_nothing_and_show_what_would_come_of_them(served: Served) -> None:
    trigger = await hook(served, "paid")
    secret = await secret_of(served, trigger)
    await served.client.post(f"/api/v1/triggers/{trigger['id']}/capture", json={"count": 2})
    async with served.anyone() as sender:
        reasons = []
        for content in (b'{"id": "evt_1"}', b'{"id": 7}', b'{"id": "evt_3"}'):
            answer = await sender.post(trigger["address"], content=content, headers=stripe(secret, content))
            assert answer.status_code == 202
            kept = await last_delivery(served)
            reasons.append((kept["verdict"], kept["reason"].partition(":")[0]))

    assert reasons == [("captured", "ok"), ("captured", "inputs"), ("accepted", "ok")]
    assert len(await runs(served, "paid")) == 1


@pytest.mark.req("TRIG-1.declared")
async def test_triggers_follow_their_flow_and_keep_their_address(served: Served, tmp_path: Path) -> None:
    file, before = tmp_path / "flows" / "open.yaml", await hook(served, "open")
    text = file.read_text("utf-8")
    file.write_text(text.replace("trigger: {webhook", "x-trigger: {webhook"), encoding="utf-8")
    await served.host.triggers.follow_folders()
    async with served.anyone() as sender:
        problem(await sender.post(before["address"], json={}), 404, "not-found")
        assert not (await hook(served, "open"))["declared"]
        file.write_text(text + "\n", encoding="utf-8")
        await served.host.triggers.follow_folders()
        assert (await sender.post(before["address"], json={})).status_code == 202
        off = await served.client.patch(f"/api/v1/triggers/{before['id']}", json={"enabled": False})
        assert off.json()["enabled"] is False
        problem(await sender.post(before["address"], json={}), 404, "not-found")


@pytest.mark.req("TRIG-1.path")
async def test_a_webhook_may_have_a_path_of_its_own_and_a_schema(served: Served) -> None:
    secret = await secret_of(served, await hook(served, "own"))

    async def send(path: str, body: bytes) -> Any:
        proof = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
        headers = {"x-hub-signature-256": f"sha256={proof}", "content-type": "application/json"}
        async with served.anyone() as sender:
            return await sender.post(path, content=body, headers=headers)

    taken = await send("/hooks/default/own/orders", b'{"n": 3}')
    assert (await served.until(taken.json()["run_id"]))["outputs"] == 3
    problem(await send("/hooks/default/own/others", b'{"n": 3}'), 404, "not-found")
    problem(await send("/hooks/default/own/orders", b'{"m": 3}'), 422, "invalid-input")
    assert (await last_delivery(served))["reason"] == "schema"


@pytest.mark.req("TRIG-1.own")
async def test_a_trigger_can_be_made_beside_the_flow_and_deleted(served: Served) -> None:
    made = await served.client.post(
        "/api/v1/triggers", json={"flow": "open", "kind": "webhook", "settings": {"auth": "github"}, "name": "repo"}
    )
    assert made.status_code == 201, made.text
    secret, trigger = made.json()["secret"], made.json()["trigger"]
    body = b'{"a": 1}'
    proof = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    headers = {
        "x-hub-signature-256": f"sha256={proof}", "x-github-delivery": "1", "content-type": "application/json",
    }  # fmt: skip
    async with served.anyone() as sender:
        assert (await sender.post(trigger["address"], content=body, headers=headers)).status_code == 202
        assert (await served.client.delete(f"/api/v1/triggers/{trigger['id']}")).status_code == 204
        problem(await sender.post(trigger["address"], content=body, headers=headers), 404, "not-found")
    declared = await hook(served, "open")
    problem(await served.client.delete(f"/api/v1/triggers/{declared['id']}"), 409, "conflict")
    missing = {"flow": "none", "kind": "webhook", "settings": {}}
    problem(await served.client.post("/api/v1/triggers", json=missing), 404, "not-found")
    bad = {"flow": "open", "kind": "webhook", "settings": {"auth": "strype"}}
    found = problem(await served.client.post("/api/v1/triggers", json=bad), 422, "invalid-flow")
    assert 'not the text "strype"' in found["detail"]
    assert [one["suggestion"] for one in found["problems"]] == ['did you mean "stripe"?']
    problem(await served.client.get("/api/v1/triggers?kind=corn"), 422, "invalid-request")
    problem(await served.client.get("/api/v1/deliveries?verdict=lost"), 422, "invalid-request")


@pytest.mark.req("ACC-9.webhooks", "ACC-3.archive")
async def test_nothing_is_taken_where_flows_are_switched_off(served: Served) -> None:
    trigger = await hook(served, "open")
    flag = "/api/v1/flags/orchestrator"
    async with served.anyone() as sender:
        await served.client.put(flag, json={"on": False})
        problem(await sender.post(trigger["address"], json={}), 403, "feature-off")
        await served.client.put(flag, json={"on": None})
        assert (await sender.post(trigger["address"], json={})).status_code == 202
        problem(await sender.post("/hooks/nowhere/open", json={}), 404, "not-found")
    assert len((await served.get("/api/v1/deliveries"))["deliveries"]) == 1


@pytest.mark.req("ACC-9.webhooks", "ACC-3.archive")
async def test_a_webhook_of_an_archived_workspace_is_as_unknown_as_the_workspace(served: Served) -> None:
    two = (await served.client.post("/api/v1/workspaces", json={"name": "Two"})).json()["id"]
    inside = {"x-segue-workspace": two}
    text = "flow: open\ntrigger: {webhook: {auth: none, methods: [POST]}}\nsteps: [{log: hi}]"
    assert (await served.client.post("/api/v1/flows", json={"text": text}, headers=inside)).status_code == 201
    made = await served.client.post("/api/v1/flows/open/versions", json={}, headers=inside)
    path = f"/api/v1/flows/open/versions/{made.json()['number']}/publish"
    assert (await served.client.post(path, json={}, headers=inside)).status_code == 200
    (trigger,) = (await served.client.get("/api/v1/triggers", headers=inside)).json()["triggers"]
    async with served.anyone() as sender:
        for is_archived, status in ((False, 202), (True, 404), (False, 202)):
            changed = await served.client.patch(f"/api/v1/workspaces/{two}", json={"archived": is_archived})
            assert changed.status_code == 200
            assert (await sender.post(trigger["address"], json={})).status_code == status
    kept = (await served.client.get("/api/v1/deliveries", headers=inside)).json()["deliveries"]
    assert len(kept) == 2
