"""A server in a thread of its own and a real Chromium that visits it as a person would."""

from __future__ import annotations

import asyncio
import shutil
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Generator
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Error, Page, Request, sync_playwright

from acceptance.api_support import Served, serve

T = TypeVar("T")

ARGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
# The network log of a refused form is no mistake of the page: the test looks at what the page says about it.
EXPECTED = "Failed to load resource: the server responded with a status of 422"


@dataclass
class Site:
    """A served folder of flows. `do` runs a coroutine on the server's own event loop."""

    served: Served
    folder: Path
    loop: asyncio.AbstractEventLoop
    stop: Callable[[], None]

    def do(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(20)

    def link(self) -> str:
        """The address that the server prints at its start is good once; later ones are asked for."""
        made = self.do(self.served.client.post("/api/v1/links"))
        return f"{self.served.url}{made.json()['url_path']}"


@pytest.fixture
def site(tmp_path: Path) -> Generator[Site]:
    folder = tmp_path / "flows"
    folder.mkdir()
    for name, text in FLOWS.items():
        (folder / name).write_text(text, encoding="utf-8")
    begun: Future[Site] = Future()
    over = threading.Event()

    async def main() -> None:
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()

        def stop_soon() -> None:
            loop.call_soon_threadsafe(ended.set)

        async with serve(f"sqlite:///{tmp_path / 'runs.db'}", folders=(folder,)) as served:
            begun.set_result(Site(served, folder, loop, stop_soon))
            await ended.wait()
        over.set()

    thread = threading.Thread(target=asyncio.run, args=(main(),), daemon=True)
    thread.start()
    found = begun.result(20)

    def stop() -> None:
        if not over.is_set():
            found_stop()
        thread.join(20)
        assert not thread.is_alive()

    found_stop, found.stop = found.stop, stop
    yield found
    stop()


@pytest.fixture(scope="session")
def chromium() -> Generator[Browser]:
    path = next(
        (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
    )
    if path is None:
        pytest.fail("no Chromium is installed; run scripts/install-chromium.sh")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGS)
        yield browser
        browser.close()


@pytest.fixture(params=["light", "dark"])
def scheme(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@dataclass
class Mistakes:
    """What went wrong on a page; texts that hold one of `allowed` were meant to happen."""

    seen: list[str] = field(default_factory=list)
    allowed: tuple[str, ...] = (EXPECTED,)
    home: str = ""

    def on_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.seen.append(message.text)

    def on_error(self, error: Error) -> None:
        self.seen.append(str(error))

    def on_request(self, request: Request) -> None:
        if not request.url.startswith((self.home, "data:")):
            self.seen.append(f"asked for {request.url}")

    def unexpected(self) -> list[str]:
        return [text for text in self.seen if not any(part in text for part in self.allowed)]


@pytest.fixture
def mistakes(site: Site) -> Mistakes:
    return Mistakes(home=site.served.url)


@pytest.fixture
def page(chromium: Browser, site: Site, mistakes: Mistakes) -> Generator[Page]:
    """A page with a session. Every error on it fails its test: scripts, console, content security policy, requests
    to other hosts.
    """
    context = chromium.new_context(
        viewport={"width": 1280, "height": 900}, reduced_motion="reduce", locale="en-GB", timezone_id="UTC"
    )
    context.set_default_timeout(10_000)
    found = context.new_page()
    found.on("console", mistakes.on_console)
    found.on("pageerror", mistakes.on_error)
    found.on("request", mistakes.on_request)
    found.goto(site.link())
    found.locator("body[data-ready=true]").wait_for()
    yield found
    context.close()
    assert mistakes.unexpected() == []


def get(url: str) -> int:
    """The status of an address without a session."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


FLOWS = {
    "order.yaml": """\
flow: order
title: Handle an order
description: Prepares an order and asks a person.
inputs:
  customer: {type: string, title: Customer, description: Who ordered, minLength: 2}
  email: {type: string, format: email, title: E-mail}
  amount: {type: number, title: Amount, default: 120, minimum: 0}
  express: {type: boolean, title: Express, default: false}
  channel: {enum: [mail, phone, shop], title: Channel, default: shop}
  due: {type: string, format: date, title: Due, required: false}
  tags: {type: array, items: {type: string}, title: Tags, required: false}
  address: {type: object, title: Address, required: [city], properties: {street: {type: string}, city: {type: string}}}
steps:
  - prepare: {set: {customer: $inputs.customer, amount: $inputs.amount, client_secret: "hush"}}
  - approval:
      wait:
        callback:
          expires: 1h
          schema:
            type: object
            required: [by]
            properties: {approved: {type: boolean, title: Approved}, by: {type: string, title: By whom}}
  - decide:
      if: $approval.approved
      then: [{ship: {log: "shipping to {{ inputs.customer }}"}}]
      else: [{refuse: {fail: {code: refused, message: "refused by {{ approval.by }}"}}}]
outputs: {customer: $prepare.customer, inputs: $inputs, secret: $prepare.client_secret}
""",
    "broken.yaml": "flow: broken\ntitle: A broken flow\nsteps:\n  - one: {log: $two.x}\n",
    "plain.yaml": "flow: plain\ntitle: Without inputs\nsteps:\n  - a: {log: done}\n",
    "markup.yaml": """\
flow: markup
title: Markup <img src=x onerror=alert(1)>
inputs: {text: string}
steps:
  - a: {log: $inputs.text}
outputs: {t: $inputs.text}
""",
}
