"""Canaries in every kind of secret, connection and declared field; then every route is asked, and every door looked at.

The walk takes its routes from the application's own document, so that one that is added later is asked, too.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import yaml
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from tests.canaries import Canaries

from acceptance.api_support import Receiver, Served, events, receiver, serve
from segue.engine.port import Action, AttemptContext
from segue.errors import StepError
from segue.observe.logs import configure_logging

pytestmark = [pytest.mark.anyio, pytest.mark.req("ACC-4.every-route", "BAR-17.every-route")]

KINDS = ("env", "file", "secret", "connection", "vault", "field", "linked", "header")
PLANTED = {kind: f"{kind[:2]}K9-{hashlib.sha256(kind.encode()).hexdigest()[:9]}/ZA+7=qz" for kind in KINDS}
CANARIES = Canaries(
    [*PLANTED.values(), *(one.lower() for one in PLANTED.values()), *(one.upper() for one in PLANTED.values())]
)


class Outside(Receiver):
    """Gives back what it was sent, in whatever form a path asks for, and is a secret store under /v1/."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        request = Request(scope, receive)
        body = (await request.body()).decode()
        self.got.append((request.method, request.url.path, dict(request.headers), body.encode()))
        await self._answer(request, body)(scope, receive, send)

    def _answer(self, request: Request, body: str) -> Response:
        path, told = request.url.path, {"sent": body, "headers": dict(request.headers), "url": str(request.url)}
        if path.startswith("/v1/kv/data/"):
            return JSONResponse({"data": {"data": {"key": PLANTED["vault"]}, "metadata": {"version": 1}}})
        if path.startswith("/v1/"):
            return JSONResponse({}, 404)
        if path.startswith("/refuse"):
            return JSONResponse(told, 422, {"x-told": body.replace("\n", "")[:200].encode("ascii", "replace").decode()})
        if path.startswith("/text"):
            return PlainTextResponse(f"cannot use {json.dumps(told)} nor {body!r}", 500)
        if path.startswith("/away"):
            return RedirectResponse(f"http://nowhere.invalid/{body}?{request.url.query}", 307)
        if path.startswith("/broken"):
            return Response(body[: len(body) // 2] + "{", media_type="application/json")
        return JSONResponse(told, headers={"set-cookie": f"session={PLANTED['header']}"})


GIVEN: dict[str, Any] = yaml.safe_load(Path(__file__).with_name("canary_steps.yaml").read_text("utf-8"))
STEPS: dict[str, str] = GIVEN["steps"]
CHILD = "flow: child\ninputs: {t: string}\nsteps:\n  - c: {fail: {message: 'no {{ inputs.t }}'}}\n"


def text_of(name: str, outside: str, file: Path) -> str:
    step = STEPS[name].rstrip().replace("\n", "\n    ")
    name = re.sub("[^a-z]", "-", name)
    flow = f"flow: {name}\n{GIVEN['head']}- s:\n    {step}\noutputs: {{all: $ask, s: $s}}\n"
    return flow.replace("OUT", outside).replace("HOST", outside.removeprefix("http://")).replace("FILE", str(file))


async def _raise(params: dict[str, Any], _context: AttemptContext) -> Any:
    raise ValueError(f"cannot use {params!r}")


async def _refuse(params: dict[str, Any], context: AttemptContext) -> Any:
    context.log("debug", f"params {params}", params=params)
    raise StepError(f"no: {json.dumps(params)}", category="validation", code=params["x"], details=params)


@pytest.fixture
def logged() -> Iterator[StringIO]:
    lines = StringIO()
    configure_logging(json=True, level="debug", stream=lines)
    yield lines
    root = logging.getLogger()
    for handler in [one for one in root.handlers if type(one).__name__ == "_SegueHandler"]:
        root.removeHandler(handler)


async def plant(served: Served, outside: Outside) -> None:
    served.host.actions.add(Action(name="app.raise", run=_raise))
    served.host.actions.add(Action(name="app.refuse", run=_refuse))
    address, token, key = outside.url, PLANTED["connection"], PLANTED["linked"]
    for path, body in (
        ("/api/v1/connections", {"name": "shop", "fields": {"base_url": address}, "secret_fields": {"token": token}}),
        (
            "/api/v1/connections",
            {"name": "linked", "fields": {"base_url": address, "auth": "query"}, "secret_fields": {"api_key": key}},
        ),
        ("/api/v1/flows", {"text": CHILD}),
        ("/api/v1/flows", {"text": GIVEN["hook"]}),
        ("/api/v1/flows/child/versions", {"publish": True}),
        ("/api/v1/flows/hooked/versions", {"publish": True}),
    ):
        made = await served.client.post(path, json=body)
        assert made.status_code == 201, made.text
    assert (await served.client.put("/api/v1/secrets/own", json={"value": PLANTED["secret"]})).status_code == 201


async def hooked(served: Served) -> str:
    """A run that a webhook began, with secrets that no `secrets:` names."""
    (hook,) = (await served.get("/api/v1/triggers"))["triggers"]
    field = {"card_holder": {"name": PLANTED["field"]}, "pass_code": PLANTED["field"]}
    async with served.anyone(authorization=f"Bearer {PLANTED['header']}") as sender:
        taken = await sender.post(hook["address"], json=field)
        assert taken.status_code == 202, taken.text
        refused = await sender.post(hook["address"], json={**field, "n": "none"})
        assert refused.status_code == 422
        assert CANARIES.found_in(refused.content) == []
    run_id = taken.json()["run_id"]
    url = await served.callback_url(run_id)
    answered = await served.client.post(url.partition(served.url)[2] or url, json={"pin_word": PLANTED["field"]})
    assert answered.status_code == 200, answered.text
    return run_id


def asked(operation: str, path: str, ids: dict[str, str]) -> str:
    return re.sub(r"\{(\w+)\}", lambda found: ids.get(found[1], "x"), path)


async def walk(served: Served, runs: dict[str, str], seen: dict[str, bytes]) -> None:
    """Ask every route about every run; what changes a run, and what ends things, comes last."""
    document = await served.get("/openapi.json")
    seen["openapi"] = json.dumps(document).encode()
    delivery = (await served.get("/api/v1/deliveries"))["deliveries"][0]["id"]
    trigger = (await served.get("/api/v1/triggers"))["triggers"][0]["id"]
    first = next(iter(runs.values()))
    routes = [(method, path) for path, methods in document["paths"].items() for method in methods]
    apart = ("/hooks", "/api/v1/logout", "/api/v1/runs/{run_id}/events", "/api/v1/live/events")
    routes = [one for one in routes if not one[1].startswith(apart)]
    async with served.client.stream("GET", "/api/v1/live/events", timeout=30) as live:
        async for line in live.aiter_lines():
            if line.startswith("data: "):  # the list; the stream itself has no end
                seen["live"] = line.encode()
                break
    for method, path in sorted(
        routes, key=lambda one: "get post put patch delete".index(one[0]) if one[0] != "head" else 0
    ):
        # What changes something is asked about some of the runs only.
        some = runs if method == "get" else {name: runs[name] for name in ("hooked", "refused", "sub")}
        about = some if "{run_id}" in path else {"": first}
        for name, run_id in about.items():
            for address in ("ask", "s") if re.search(r"\{(address|step|node_id)\}", path) else ("s",):
                ids = {
                    "run_id": run_id, "other_id": first, "flow_id": "hooked", "delivery_id": delivery,
                    "trigger_id": trigger,
                    "address": address, "node_id": address, "step": address, "version": "1.0.0",
                    "name": "shop" if "connections" in path else "own",
                }  # fmt: skip
                body = None if method in ("get", "delete", "head") else {}
                answer = await served.client.request(
                    method.upper(), asked(method, path, ids), json=body, headers={"if-match": "*"}, timeout=30
                )
                seen[f"{method} {path} {name} {address}"] = answer.content + repr(answer.headers).encode()
                assert answer.status_code != 500, f"{method} {path} {name}: {answer.text}"


async def test_no_route_log_stream_or_file_tells_a_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logged: StringIO
) -> None:
    data, file = tmp_path / "data", tmp_path / "secret.txt"
    data.mkdir()
    file.write_text(PLANTED["file"] + "\n")
    monkeypatch.setenv("CANARY_KEY", PLANTED["env"])
    monkeypatch.setenv("VAULT_TOKEN", "the server's token")
    seen: dict[str, bytes] = {}
    async with receiver() as plain:
        plain.__class__ = Outside
        outside: Outside = plain  # type: ignore[assignment]
        monkeypatch.setenv("VAULT_ADDR", outside.url)
        async with serve(f"sqlite:///{data / 'runs.db'}") as served:
            await plant(served, outside)
            runs: dict[str, str] = {"hooked": await hooked(served)}
            for name in STEPS:
                answer = await served.client.post("/api/v1/runs", json={"flow": text_of(name, outside.url, file)})
                seen[f"start {name}"] = answer.content
                assert answer.status_code == 201, f"{name}: {answer.text}"
                runs[name] = answer.json()["run_id"]
            linked = {"steps": [{"s": {"http": {"connection": "linked", "url": "/refuse"}}}]}
            runs["linked"] = await served.start(linked)
            for name, run_id in runs.items():
                if name != "approve":
                    await served.until(run_id)
                    seen[f"stream {name}"] = repr([one async for one in events(served.client, run_id)]).encode()
            assert len([one for one in outside.got if one[1] == "/echo"]) == len(STEPS), "all secrets were sent"
            assert all(
                one[3].decode() == "|".join(PLANTED[kind] for kind in KINDS[:5])
                for one in outside.got
                if one[1] == "/echo"
            )
            await walk(served, runs, seen)
    leaks = {where: found[:3] for where, text in seen.items() if (found := CANARIES.found_in(text))}
    assert leaks == {}
    assert CANARIES.found_in(logged.getvalue().encode()) == []
    assert CANARIES.found_on_disk(data) == {}
