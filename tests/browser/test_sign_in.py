"""Signing in, as a person does it: by keyboard, with a label on every field."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, expect
from tests.browser.conftest import Site

pytestmark = [pytest.mark.browser, pytest.mark.slow]

PASSWORD = "four lanterns over the quay"


@pytest.mark.req("ACC-1.sign-in", "ACC-1.first-owner", "UI-10.keyboard")
def test_the_owner_is_made_signs_in_and_is_told_what_is_wrong(chromium: Browser, site: Site) -> None:
    context = chromium.new_context()
    page = context.new_page()
    page.goto(f"{site.served.url}/setup#{site.served.access.open_setup()}")
    expect(page.get_by_role("heading", name="Welcome: who owns this server?")).to_be_visible()
    expect(page.get_by_label("Your name")).to_be_focused()
    for text in ("Olga", "olga@example.org", "password1234"):
        page.keyboard.type(text)
        page.keyboard.press("Tab")
    page.get_by_label("Password").press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("others try first")
    expect(page.get_by_label("Password")).to_be_focused()
    page.get_by_label("Password").fill(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.get_by_role("navigation", name="Flows and runs")).to_be_visible()
    context.close()

    context = chromium.new_context()
    page = context.new_page()
    page.goto(site.served.url)
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    expect(page.get_by_label("E-mail address")).to_be_focused()
    page.keyboard.type("olga@example.org")
    page.keyboard.press("Tab")
    page.keyboard.type("not this one, surely")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_have_text("Address or password is wrong.")
    page.get_by_label("Password").fill(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.get_by_role("navigation", name="Flows and runs")).to_be_visible()

    expect(page.locator("#who summary")).to_have_text("Your account: Olga")
    page.locator("#who summary").press("Enter")
    expect(page.get_by_role("button", name="Sign out", exact=True)).to_be_visible()
    expect(page.locator("#who-workspace")).to_have_text("Default")
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Sign out", exact=True)).to_be_hidden()

    off = {"on": False, "scope": "server"}
    site.do(site.served.client.put("/api/v1/flags/orchestrator", json=off))
    page.reload()
    expect(page.get_by_role("heading", name="Flows are switched off")).to_be_visible()
    expect(page.locator("#who summary")).to_be_visible()
    page.locator("#who summary").press("Enter")
    page.get_by_role("button", name="Sign out everywhere").press("Enter")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    context.close()
