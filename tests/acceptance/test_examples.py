"""Every file in `examples/` is checked without a word, and runs as its description says."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tests.acceptance.test_docs_examples import example_actions

from segue import RunResult, Segue
from segue.engine.catalogue import RegistryCatalogue
from segue.engine.port import ActionRegistry
from segue.flow import check_flow, read_flow
from segue.steps.python import actions_of

EXAMPLES = Path(__file__).parents[2] / "examples"
FLOWS = sorted(path for path in EXAMPLES.iterdir() if path.suffix in (".yaml", ".json"))
# approval.yaml is run, with its answer, by the quick start's commands.


async def run(name: str, /, **inputs: object) -> RunResult:
    engine = Segue()
    for function in vars(example_actions()).values():
        mark = getattr(function, "__segue_action__", None)
        if mark is not None:
            engine.action(mark.name, effect=mark.effect)(function)
    async with engine as segue:
        return await segue.run(EXAMPLES / name, inputs)


@pytest.fixture
def service() -> Iterator[tuple[str, list[dict]]]:
    """A service on this machine that answers 204 to a POST and `ready` to the second GET; and what was sent to it."""
    sent: list[dict] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sent.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(204)
            self.end_headers()

        def do_GET(self) -> None:
            sent.append({})
            body = json.dumps({"status": "ready" if len(sent) > 1 else "starting"}).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/hook", sent
        server.shutdown()
        thread.join()


@pytest.mark.req("DEV-2.examples", "FLOW-5.examples")
@pytest.mark.parametrize("path", FLOWS, ids=lambda path: path.name)
def test_an_example_is_checked_without_a_word(path: Path) -> None:
    result = read_flow(path.read_text(encoding="utf-8"), file=path.name)
    assert result.flow is not None
    catalogue = RegistryCatalogue(ActionRegistry(tuple(actions_of(example_actions()))))
    problems = [*result.problems, *check_flow(result.flow, catalogue, runnable=True, document=result.document)]
    assert [str(problem) for problem in problems] == []


@pytest.mark.req("DEV-2.examples")
@pytest.mark.anyio
async def test_hello_greets() -> None:
    result = await run("hello.yaml", name="Ada", seconds=0)
    assert (result.status, result.outputs) == ("succeeded", {"greeting": "Hello, Ada!"})


@pytest.mark.req("DEV-2.examples")
@pytest.mark.anyio
async def test_the_order_is_reserved_with_a_retry_charged_and_shipped() -> None:
    result = await run("order.yaml", items=["desk"])
    assert result.status == "succeeded"
    assert not result.recovered
    assert result.outputs == {
        "customer": "Ada Lovelace",
        "reserved": [{"article": "desk", "attempt": 2}],
        "paid": True,
        "tracking": "PX-A-1001",
    }


@pytest.mark.req("DEV-2.examples")
@pytest.mark.anyio
async def test_an_order_whose_charge_is_declined_goes_by_invoice() -> None:
    result = await run("order.yaml", items=["lamp"], card_declined=True)
    assert (result.status, result.recovered) == ("succeeded", True)
    assert result.outputs["paid"] is False
    assert result.outputs["tracking"] is None


@pytest.mark.req("DEV-2.examples")
@pytest.mark.anyio
@pytest.mark.parametrize(("message", "category"), [("My invoice is wrong", "billing"), ("It crashes", "technical")])
async def test_a_support_case_goes_to_its_team(message: str, category: str) -> None:
    result = await run("support-routing.yaml", message=message)
    assert (result.status, result.outputs) == ("succeeded", {"category": category})
    taken, other = ("finance", "support") if category == "billing" else ("support", "finance")
    assert result.steps[f"route_to_{taken}"] is not None
    assert result.steps.get(f"route_to_{other}") is None


@pytest.mark.req("DEV-2.examples")
@pytest.mark.anyio
async def test_the_bridge_tells_the_channel_about_a_sale(service: tuple[str, list[dict]]) -> None:
    address, sent = service
    result = await run("stripe-to-discord.yaml", webhook_url=address, amount=25)
    assert (result.status, result.outputs) == ("succeeded", {"status": 204})
    assert sent == [{"content": "🎉 New Sale! A payment of 25 USD was just successfully processed."}]


@pytest.mark.req("DEV-2.examples")
@pytest.mark.anyio
async def test_the_poll_asks_until_the_service_is_ready(service: tuple[str, list[dict]]) -> None:
    address, sent = service
    result = await run("poll-status.yaml", url=address)
    assert (result.status, result.outputs) == ("succeeded", {"answer": {"status": "ready"}})
    assert len(sent) == 2
