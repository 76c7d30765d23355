"""A canary: a secret goes through everything that this server shows, keeps or logs, and is seen nowhere."""

from __future__ import annotations

import logging
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from acceptance.api_support import Served, list_files, receiver, serve
from segue.observe.logs import configure_logging

pytestmark = pytest.mark.anyio

CANARY = "canary-7f3a9c51e8d24b06"


async def _everything(served: Served, run_id: str) -> dict[str, str]:
    paths = [f"/api/v1/runs/{run_id}{end}" for end in ("", "/logs", "/why", "/callbacks", "/events")]
    paths += ["/api/v1/runs", f"/v1/runs/{run_id}"]
    return {path: (await served.client.get(path)).text for path in paths}


@pytest.mark.req("ACC-4.answers", "ACC-5.logs", "BAR-17.api")
async def test_a_secret_of_the_flow_is_sent_and_shown_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_SECRET", CANARY)
    lines = StringIO()
    configure_logging(json=True, level="debug", stream=lines)
    try:
        async with receiver() as outside, serve(f"sqlite:///{tmp_path / 'runs.db'}") as served:
            outside.answers["/echo"] = (200, b'{"you_sent": "%s", "access_token": "%s"}' % (CANARY.encode(), b"x" * 20))
            outside.answers["/refuse"] = (403, b"no entry with " + CANARY.encode())
            flow: dict[str, Any] = {
                "flow": "canary",
                "secrets": {"key": "env:API_SECRET"},
                "steps": [
                    {"ask": {"http": {"url": f"{outside.url}/echo", "headers": {"X-Api-Key": "{{ secrets.key }}"}}}},
                    {"tell": {"log": "the answer was {{ ask.body.you_sent }}"}},
                    {"refused": {"http": {"url": f"{outside.url}/refuse?api_key={{{{ secrets.key }}}}"}}},
                ],
                "outputs": {"all": "$ask"},
            }
            run_id = await served.start(flow)
            view = await served.until(run_id)
            assert view["status"] == "failed"
            assert outside.got[0][2]["x-api-key"] == CANARY
            assert len(outside.got) == 2
            for path, shown in (await _everything(served, run_id)).items():
                assert CANARY not in shown, path
                assert "x" * 20 not in shown, path
    finally:
        root = logging.getLogger()
        for handler in [one for one in root.handlers if type(one).__name__ == "_SegueHandler"]:
            root.removeHandler(handler)
    assert run_id in lines.getvalue()
    assert CANARY not in lines.getvalue()
    for path in list_files(tmp_path):
        assert CANARY.encode() not in path.read_bytes(), path.name


@pytest.mark.req("ACC-5.fields", "API-1.errors")
async def test_values_under_secret_names_are_masked_in_answers_and_errors() -> None:
    flow = "flow: a\ninputs: {password: {type: integer}, note: string}\nsteps: [{log: hi}]\n"
    async with serve() as served:
        wrong = await served.client.post(
            "/api/v1/runs", json={"flow": flow, "inputs": {"password": CANARY, "note": "n"}}
        )
        assert wrong.status_code == 422
        assert CANARY not in wrong.text
        assert "password" in wrong.text
        run_id = await served.start(flow.replace("integer", "string"), {"password": CANARY, "note": "plain"})
        await served.until(run_id)
        shown = await _everything(served, run_id)
        assert "plain" in shown[f"/api/v1/runs/{run_id}"]
        for path, text in shown.items():
            assert CANARY not in text, path


@pytest.mark.req("ACC-5.fields")
async def test_a_callback_payload_is_masked_where_it_is_shown() -> None:
    flow = "flow: a\nsteps:\n  - answer: {wait: {callback: {expires: 1h}}}\noutputs: {got: $answer}\n"
    async with serve() as served:
        run_id = await served.start(flow)
        url = await served.callback_url(run_id)
        await served.client.post(url, json={"client_secret": CANARY, "authorization": f"Bearer {CANARY}", "ok": 1})
        view = await served.until(run_id)
        assert view["outputs"] == {"got": {"client_secret": "***", "authorization": "***", "ok": 1}}
        for path, text in (await _everything(served, run_id)).items():
            assert CANARY not in text, path
