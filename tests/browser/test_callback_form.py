"""The form at a callback's address, on a phone, by labels and names; no session, no script."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from tests.browser.conftest import Mistakes, Site

pytestmark = [pytest.mark.browser, pytest.mark.slow]

APPROVAL = """\
flow: spend
title: Spend money
inputs: {amount: number}
steps:
  - ask:
      approve:
        to: [group:finance]
        message: "May we spend {{ inputs.amount }} on the new press?"
        timeout: 3d
        form:
          type: object
          required: [limit]
          properties:
            limit: {type: integer, title: Limit, minimum: 1, description: In whole euros.}
            reason: {enum: [travel, tools], title: Reason}
            urgent: {type: boolean, title: It is urgent}
            days: {type: array, title: Days, items: {enum: [monday, tuesday]}}
outputs: {ok: $ask.approved, limit: $ask.limit, days: $ask.days, urgent: $ask.urgent}
"""


@pytest.fixture
def phone(chromium: Browser, site: Site, mistakes: Mistakes, scheme: str) -> Generator[Page]:
    context = chromium.new_context(
        viewport={"width": 375, "height": 740}, color_scheme="dark" if scheme == "dark" else "light",
        java_script_enabled=False, locale="en-GB",
    )  # fmt: skip
    context.set_default_timeout(10_000)
    page = context.new_page()
    page.on("console", mistakes.on_console)
    page.on("request", mistakes.on_request)
    yield page
    context.close()
    assert mistakes.unexpected() == []


@pytest.mark.req("CALL-3.form", "UI-10.callback-form")
def test_a_person_approves_on_a_phone_without_any_script(phone: Page, site: Site, scheme: str) -> None:
    run_id = site.do(site.served.start(APPROVAL, {"amount": 120}))
    url = site.do(site.served.callback_url(run_id))
    phone.goto(url)
    expect(phone.get_by_role("heading", level=1, name="Your approval is asked for")).to_be_visible()
    expect(phone.get_by_text("May we spend 120 on the new press?")).to_be_visible()
    if folder := os.environ.get("SEGUE_SCREENSHOTS"):
        phone.screenshot(path=Path(folder) / f"callback-{scheme}.png", full_page=True)
    phone.get_by_label("Limit").fill("500")
    phone.get_by_label("Reason").select_option("tools")
    phone.get_by_label("It is urgent").check()
    phone.get_by_label("tuesday").check()
    phone.get_by_label("Your name").fill("Ada")
    phone.get_by_role("button", name="Approve").click()
    expect(phone.get_by_role("heading", name="Thank you")).to_be_visible()
    view = site.do(site.served.until(run_id))
    assert view["outputs"] == {"ok": True, "limit": 500, "days": ["tuesday"], "urgent": True}


@pytest.mark.req("CALL-3.form")
def test_a_mistake_is_told_beside_its_field_and_nothing_is_lost(
    phone: Page, site: Site, mistakes: Mistakes, scheme: str
) -> None:
    mistakes.allowed = (*mistakes.allowed, "with a status of 409")
    flow = (
        "flow: ask\nsteps:\n  - a: {wait: {callback: {expires: 1h, schema: {email: {type: string, pattern: '@'}}}}}\n"
    )
    run_id = site.do(site.served.start(flow))
    url = site.do(site.served.callback_url(run_id))
    phone.goto(url)
    phone.get_by_label("Email").fill("nobody")
    phone.get_by_role("button", name="Send").click()
    expect(phone.get_by_role("alert")).to_contain_text("Not sent yet")
    expect(phone.get_by_label("Email")).to_have_value("nobody")
    expect(phone.get_by_label("Email")).to_have_attribute("aria-invalid", "true")
    if folder := os.environ.get("SEGUE_SCREENSHOTS"):
        phone.screenshot(path=Path(folder) / f"callback-wrong-{scheme}.png", full_page=True)
    phone.get_by_label("Email").fill("a@b.example")
    phone.get_by_role("button", name="Send").click()
    expect(phone.get_by_role("heading", name="Thank you")).to_be_visible()
    phone.goto(url)
    expect(phone.get_by_role("heading", name="This has been answered")).to_be_visible()
