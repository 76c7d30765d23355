"""The page, driven as a person does: by labels and names, in a real browser."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Browser, Dialog, Page, expect
from tests.browser.conftest import Mistakes, Site, get

from acceptance.api_support import TOKEN

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def _open(page: Page, flow: str) -> None:
    page.get_by_role("link", name=flow).click()
    expect(page.get_by_role("heading", level=1, name=flow)).to_be_focused()


def _run(page: Page) -> None:
    page.get_by_role("button", name="Run", exact=True).click()


def _fill_order(page: Page) -> None:
    _open(page, "Handle an order")
    page.get_by_label("Customer").fill("Ada")
    page.get_by_label("E-mail").fill("ada@example.org")
    page.get_by_label("city").fill("London")


@pytest.mark.req("ACC-1.link", "UI-10.open")
def test_the_printed_address_opens_the_page_once(chromium: Browser, site: Site) -> None:
    context = chromium.new_context()
    page = context.new_page()
    page.goto(f"{site.served.url}/?token={TOKEN}")
    expect(page.get_by_role("navigation", name="Flows and runs")).to_be_visible()
    assert TOKEN not in page.url
    page.reload()
    expect(page.get_by_role("navigation", name="Flows and runs")).to_be_visible()
    other = chromium.new_context().new_page()
    other.goto(f"{site.served.url}/?token={TOKEN}")
    expect(other.get_by_role("heading", name="This browser is not let in yet")).to_be_visible()
    expect(other.get_by_text("has been used already")).to_be_visible()
    assert get(f"{site.served.url}/api/v1/runs") == 401
    other.context.close()
    context.close()


@pytest.mark.req("UI-4.form", "UI-4.live", "FLOW-12.forms", "CALL-4.test-sender")
def test_a_flow_is_run_from_its_form_and_answered_on_the_page(page: Page) -> None:
    _fill_order(page)
    page.get_by_label("Amount").fill("99.5")
    page.get_by_label("Express").check()
    page.get_by_label("Channel").select_option("phone")
    page.get_by_label("Due").fill("2030-01-31")
    page.get_by_role("button", name="Add an item").click()
    expect(page.get_by_label("Item 1")).to_be_focused()
    page.get_by_label("Item 1").fill("urgent")
    _run(page)
    expect(page.get_by_text("Handle an order started")).to_be_visible()
    expect(page).to_have_url(re.compile(r"#/runs/run_"))
    expect(page.locator(".title .badge").first).to_have_text("waiting")
    expect(page.get_by_role("heading", name="approval waits for an answer")).to_be_visible()
    expect(page.get_by_role("button", name="Copy address")).to_be_visible()

    page.get_by_text("Send a test answer").click()
    page.get_by_role("button", name="Send", exact=True).click()
    expect(page.get_by_text("is required")).to_be_visible()
    expect(page.get_by_label("By whom")).to_be_focused()
    page.get_by_label("Approved").check()
    page.get_by_label("By whom").fill("Eve")
    page.get_by_role("button", name="Send", exact=True).click()

    expect(page.locator(".title .badge").first).to_have_text("succeeded")
    expect(page.get_by_text("order succeeded")).to_be_visible()
    result = page.get_by_role("region", name="Result")
    for text in ("ada@example.org", "99.5", "2030-01-31", "urgent", "phone", "London", "hidden"):
        expect(result.get_by_text(text).first).to_be_visible()
    expect(page.get_by_role("list", name="Log lines").get_by_text("shipping to Ada")).to_be_visible()
    expect(page.get_by_text("waits for an answer")).to_have_count(0)
    expect(page.get_by_role("navigation").get_by_role("link", name="order").last).to_have_attribute(
        "aria-current", "page"
    )


@pytest.mark.req("UI-4.inline-errors", "FLOW-12.inputs-checked")
def test_values_that_do_not_fit_are_told_at_their_fields(page: Page) -> None:
    _open(page, "Handle an order")
    page.get_by_label("E-mail").fill("nobody")
    _run(page)
    customer = page.get_by_label("Customer")
    expect(customer).to_have_attribute("aria-invalid", "true")
    expect(customer).to_be_focused()
    expect(page.get_by_label("E-mail")).to_have_attribute("aria-invalid", "true")
    expect(page.get_by_label("city")).to_have_attribute("aria-invalid", "true")
    expect(page.locator(f"[id='{customer.get_attribute('id')}-error']")).to_have_text("is required")
    customer.fill("A")
    expect(customer).not_to_have_attribute("aria-invalid", "true")
    expect(page).to_have_url(re.compile("#/flows/order"))
    expect(page.get_by_text("No runs yet.")).to_be_visible()


@pytest.mark.req("UI-4.disabled-with-reason")
def test_a_flow_with_errors_cannot_be_run_and_says_why(page: Page, site: Site) -> None:
    expect(page.get_by_role("heading", level=1, name="A broken flow")).to_be_visible()
    run = page.get_by_role("button", name="Run", exact=True)
    expect(run).to_be_disabled()
    expect(run).to_have_accessible_description(re.compile("Cannot run yet.*broken.yaml"))
    problems = page.get_by_role("region", name="Problems")
    expect(problems.get_by_text("two").first).to_be_visible()
    expect(problems.get_by_text("line 4")).to_be_visible()
    # Mended in the editor, run at the next look.
    (site.folder / "broken.yaml").write_text(
        "flow: broken\ntitle: A broken flow\nsteps:\n  - one: {log: hi}\n", "utf-8"
    )
    page.reload()
    expect(run).to_be_enabled()


@pytest.mark.req("UI-4.live", "BAR-4.page")
def test_a_failed_run_says_what_went_wrong(page: Page) -> None:
    _fill_order(page)
    _run(page)
    page.get_by_text("Send a test answer").click()
    page.get_by_label("By whom").fill("Eve")
    page.get_by_role("button", name="Send", exact=True).click()
    expect(page.locator(".title .badge").first).to_have_text("failed")
    wrong = page.get_by_role("region", name="Result")
    expect(wrong.get_by_role("heading", name="What went wrong")).to_be_visible()
    expect(wrong.get_by_text("refused by Eve")).to_be_visible()
    expect(page.get_by_role("alert").get_by_text("order ended: failed")).to_be_visible()
    step = page.locator("details.step", has_text="refuse").last
    step.locator("summary").first.click()
    expect(step.get_by_text("refused by Eve").first).to_be_visible()
    page.get_by_label("Lines shown").select_option("error")
    log = page.get_by_role("list", name="Log lines")
    expect(log.get_by_text("run accepted")).to_be_hidden()
    expect(log.locator(".l-error").first).to_be_visible()


@pytest.mark.req("DUR-4.page", "UI-4.live")
def test_a_run_is_paused_resumed_and_cancelled_by_buttons_and_run_again(page: Page) -> None:
    _fill_order(page)
    _run(page)
    badge = page.locator(".title .badge").first
    expect(badge).to_have_text("waiting")
    page.get_by_role("button", name="Pause").click()
    expect(badge).to_have_text("paused")
    page.get_by_role("button", name="Resume").click()
    expect(badge).to_have_text("waiting")
    page.get_by_role("button", name="Cancel run").click()
    expect(badge).to_have_text("cancelled")
    page.get_by_role("button", name="Run again").click()
    expect(page.get_by_label("Customer")).to_have_value("Ada")
    expect(page.get_by_label("city")).to_have_value("London")


@pytest.mark.req("UI-4.live", "API-6.sse")
def test_a_run_that_changes_elsewhere_is_seen_here(page: Page, site: Site) -> None:
    run_id = site.do(
        site.served.start("flow: elsewhere\nsteps:\n  - w: {wait: {callback: {expires: 1h}}}\n  - l: {log: after}\n")
    )
    link = page.get_by_role("navigation").get_by_role("link", name="elsewhere")
    link.click()
    expect(page.locator(".title .badge").first).to_have_text("waiting")
    url = site.do(site.served.callback_url(run_id))
    site.do(site.served.client.post(url, json={"n": 1}))
    expect(page.locator(".title .badge").first).to_have_text("succeeded")
    expect(link.get_by_text("succeeded")).to_be_attached()
    expect(page.get_by_role("list", name="Log lines").get_by_text("after")).to_be_visible()


@pytest.mark.req("UI-4.deep-link")
def test_a_run_can_be_linked_to(page: Page, site: Site) -> None:
    run_id = site.do(site.served.start("flow: linked\nsteps:\n  - l: {log: hi}\n"))
    page.goto(f"{site.served.url}/#/runs/{run_id}")
    expect(page.get_by_role("heading", level=1, name="linked")).to_be_visible()
    page.reload()
    expect(page.locator(".title .badge").first).to_have_text("succeeded")
    page.go_back()


@pytest.mark.req("ACC-7.scripts")
def test_markup_in_names_and_values_stays_text(page: Page) -> None:
    dialogs: list[str] = []

    def on_dialog(dialog: Dialog) -> None:
        dialogs.append(dialog.message)
        dialog.dismiss()

    page.on("dialog", on_dialog)
    evil = "<script>alert(2)</script><img src=x onerror=alert(3)>"
    _open(page, "Markup <img src=x onerror=alert(1)>")
    page.get_by_label("text").fill(evil)
    _run(page)
    expect(page.locator(".title .badge").first).to_have_text("succeeded")
    expect(page.get_by_role("region", name="Result").get_by_text(evil)).to_be_visible()
    expect(page.get_by_role("list", name="Log lines").get_by_text(evil)).to_be_visible()
    assert page.locator("main img, main script").count() == 0
    assert dialogs == []


@pytest.mark.req("UI-9.keyboard")
def test_everything_goes_by_keyboard(page: Page) -> None:
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.get_by_role("link", name="Without inputs").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1, name="Without inputs")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Run", exact=True)).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator(".title .badge").first).to_have_text("succeeded")
    expect(page.get_by_role("heading", level=1)).to_be_focused()
    page.locator("details.step summary").first.focus()
    page.keyboard.press("Enter")
    expect(page.locator("details.step").first).to_have_attribute("open", "")


@pytest.mark.req("UI-9.names")
def test_every_control_has_a_name_and_ids_are_unique(page: Page) -> None:
    _fill_order(page)
    page.get_by_role("button", name="Add an item").click()
    _nameless(page)
    _run(page)
    page.get_by_text("Send a test answer").click()
    expect(page.get_by_label("By whom")).to_be_visible()
    _nameless(page)


def _nameless(page: Page) -> None:
    found = page.evaluate(
        """() => {
          const controls = [...document.querySelectorAll('input, select, textarea, button, a, summary')];
          const isNamed = (one) => one.labels?.length || one.getAttribute('aria-label') || one.textContent.trim();
          const nameless = controls.filter((one) => !isNamed(one)).map((one) => one.outerHTML);
          const ids = [...document.querySelectorAll('[id]')].map((one) => one.id);
          return [...nameless, ...ids.filter((id, index) => ids.indexOf(id) !== index)];
        }"""
    )
    assert found == []


@pytest.mark.req("UI-9.dark", "UI-9.contrast")
def test_text_is_readable_in_both_schemes_and_nothing_overflows(page: Page, site: Site, scheme: str) -> None:
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    run_id = site.do(
        site.served.start(
            "flow: a-rather-long-name-for-a-flow\nsteps:\n  - one: {log: hi}\n  - two: {fail: {message: no, code: x}}\n"
        )
    )
    for place in (f"#/runs/{run_id}", "#/flows/order", "#/flows/broken"):
        page.goto(f"{site.served.url}/{place}")
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        expect(page.locator("main .card").first).to_be_visible()
        for width in (1280, 860, 390, 320):
            page.set_viewport_size({"width": width, "height": 800})
            assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"), (
                place,
                width,
            )
        poor = page.evaluate(CONTRAST)
        assert poor == [], place


@pytest.mark.req("UI-9.narrow")
def test_on_a_narrow_screen_the_lists_are_behind_a_button(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 800})
    side = page.get_by_role("navigation", name="Flows and runs")
    expect(side).to_be_hidden()
    menu = page.get_by_role("button", name="Flows and runs")
    menu.click()
    expect(menu).to_have_attribute("aria-expanded", "true")
    side.get_by_role("link", name="Without inputs").click()
    expect(side).to_be_hidden()
    expect(page.get_by_role("heading", level=1, name="Without inputs")).to_be_visible()


@pytest.mark.req("UI-4.unknown-run")
def test_a_link_to_a_run_that_is_not_there_says_so(page: Page, site: Site, mistakes: Mistakes) -> None:
    mistakes.allowed = ("status of 404",)
    page.goto(f"{site.served.url}/#/runs/run_nowhere")
    expect(page.get_by_role("heading", level=1, name="This cannot be shown")).to_be_visible()
    expect(page.get_by_role("alert").get_by_text("no run has the id 'run_nowhere'")).to_be_visible()
    expect(page.get_by_role("status").get_by_text("Connected")).to_be_visible()


@pytest.mark.req("UI-4.refused-stream")
def test_a_stream_that_is_refused_for_a_moment_is_taken_up_again(page: Page, site: Site, mistakes: Mistakes) -> None:
    mistakes.allowed = ("status of 503",)
    run_id = site.do(
        site.served.start("flow: linked\nsteps:\n  - l: {log: hi}\n  - w: {wait: {callback: {expires: 1h}}}\n")
    )
    asked = []
    page.route(
        "**/events",
        lambda route: (asked.append(1), route.fulfill(status=503) if len(asked) == 1 else route.continue_()),
    )
    page.goto(f"{site.served.url}/#/runs/{run_id}")
    expect(page.locator(".title .badge").first).to_have_text("waiting")
    expect(page.get_by_role("list", name="Log lines").get_by_text("hi")).to_have_count(1)
    assert len(asked) == 2


@pytest.mark.req("UI-4.offline")
def test_a_server_that_stops_is_told_in_the_top_bar(page: Page, site: Site, mistakes: Mistakes) -> None:
    mistakes.allowed = ("net::ERR_",)
    _fill_order(page)
    _run(page)
    expect(page.locator(".title .badge").first).to_have_text("waiting")
    expect(page.get_by_role("status").get_by_text("Connected")).to_be_visible()
    site.stop()
    expect(page.get_by_text("The server stopped or cannot be reached; trying again")).to_be_visible()
    expect(page.locator(".title .badge").first).to_have_text("waiting")


CONTRAST = """() => {
  const parse = (color) => (color.match(/[0-9.]+/g) ?? []).map(Number);
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((c) => (c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const color = parse(getComputedStyle(at).backgroundColor);
      if (color.length === 3 || color[3] > 0) return color;
    }
    return [255, 255, 255];
  };
  const hasText = (one) => [...one.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
  const counts = (one) => hasText(one) && one.checkVisibility() && !one.closest(':disabled, .visually-hidden, option');
  return [...document.querySelectorAll('body *')].filter(counts).flatMap((one) => {
    const [a, b] = [light(parse(getComputedStyle(one).color)), light(behind(one))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    return ratio < 4.5 ? [`${ratio.toFixed(2)} ${one.outerHTML.slice(0, 120)}`] : [];
  });
}"""
