"""What a person does with the dashboard: look, drill down, use the keyboard, lose the database."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from playwright.sync_api import expect

from exporter.web.browser.conftest import PHONE, WIDE
from support.ledger_rows import ask
from tokenledger_exporter.web.pages.all_pages import PAGES

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Page

    from support.dashboard import Dashboard

SHIFT_LIMIT = 0.02
LONGEST_TASK_MS = 100
FIRST_PAGE_BYTES = 120_000
OBSERVE = """
() => { window.measured = { shift: 0, tasks: [] };
  new PerformanceObserver((list) => { for (const entry of list.getEntries())
    if (!entry.hadRecentInput) window.measured.shift += entry.value;
  }).observe({ type: "layout-shift", buffered: true });
  new PerformanceObserver((list) => { for (const entry of list.getEntries())
    window.measured.tasks.push(entry.duration);
  }).observe({ type: "longtask", buffered: true }); }
"""


def test_a_total_leads_to_its_call_and_the_call_to_its_arithmetic(
    sample: Dashboard, sample_copy: str, opened: Callable[..., Page]
) -> None:
    page = opened(sample.url)
    page.locator("[aria-busy]").last.scroll_into_view_if_needed()
    page.locator(".panel", has_text="By team").get_by_role("link", name="research").click()
    expect(page.locator(".chip")).to_contain_text("team=research")
    page.get_by_role("navigation", name="Pages").get_by_role("link", name="Calls").click()
    expect(page.locator(".chip")).to_contain_text("team=research")
    page.locator("tbody tr").first.get_by_role("link").first.click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Call")
    event_id = page.url.rpartition("/")[2].partition("?")[0]
    [(cost,)] = ask(
        sample_copy, f"SELECT cost_usd FROM token_ledger_events WHERE event_id = '{event_id}'"
    )
    values = [data.get_attribute("value") for data in page.locator("tfoot data").all()]
    assert Decimal(values[0] or 0) == cost


def test_a_bar_shows_the_exact_figures_of_its_day(
    sample: Dashboard, opened: Callable[..., Page]
) -> None:
    page = opened(sample.url)
    plot = page.locator("figure[data-chart=bars] .u-over")
    box = plot.bounding_box()
    assert box
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    tip = page.locator("figure[data-chart=bars] .tip")
    expect(tip).to_be_visible()
    day, total = [text.inner_text() for text in tip.locator(".tip-head > *").all()]
    cells = page.locator("figure[data-chart=bars] tbody tr").filter(has=page.get_by_text(day)).first
    exact = cells.locator("[data-total] data").get_attribute("value")
    assert total == f"${exact}"


def test_the_keyboard_filters_moves_and_opens(
    sample: Dashboard, opened: Callable[..., Page]
) -> None:
    page = opened(f"{sample.url}/explore")
    page.keyboard.press("/")
    expect(page.get_by_role("textbox", name="Filter")).to_be_focused()
    page.keyboard.type("team=support")
    page.keyboard.press("Enter")
    expect(page.locator(".chip")).to_contain_text("team=support")
    page.keyboard.press("/")
    page.keyboard.press("Escape")
    expect(page.get_by_role("textbox", name="Filter")).not_to_be_focused()
    page.keyboard.press("ArrowDown")
    rows = page.locator("table").last.locator("tbody tr")
    expect(rows.nth(0).get_by_role("link").first).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect(rows.nth(1).get_by_role("link").first).to_be_focused()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Calls")


@pytest.mark.parametrize("size", [WIDE, PHONE])
def test_nothing_moves_while_a_page_loads(
    sample: Dashboard, opened: Callable[..., Page], size: tuple[int, int]
) -> None:
    """Panels that come later, and charts, have their place reserved."""
    page = opened(f"{sample.url}/health", size)
    page.add_init_script(f"({OBSERVE})()")
    shifts: dict[str, float] = {}
    for path in ("/", "/?where=team=support", "/explore", "/explore?measure=errors&by=day", "/why"):
        page.goto(sample.url + path, wait_until="networkidle")
        measured: Any = page.evaluate("window.measured")
        shifts[path] = measured["shift"]
    assert max(shifts.values()) <= SHIFT_LIMIT, shifts


def test_the_first_page_transfers_little(sample: Dashboard, opened: Callable[..., Page]) -> None:
    sizes: dict[str, int] = {}
    page = opened(f"{sample.url}/health")
    session: Any = page.context.new_cdp_session(page)
    session.send("Network.enable")
    urls: dict[str, str] = {}

    def on_response(event: dict[str, Any]) -> None:
        urls[event["requestId"]] = event["response"]["url"]

    def on_end(event: dict[str, Any]) -> None:
        sizes[urls.get(event["requestId"], "?")] = int(event["encodedDataLength"])

    session.on("Network.responseReceived", on_response)
    session.on("Network.loadingFinished", on_end)
    page.goto(sample.url, wait_until="networkidle")
    assert any("/charts.js?v=" in url for url in sizes)
    assert sum(sizes.values()) <= FIRST_PAGE_BYTES, sizes


def test_without_the_database_no_figure_is_shown_and_they_come_back(
    sample: Dashboard, sample_copy: str, opened: Callable[..., Page]
) -> None:
    page = opened(sample.url)
    expect(page.locator(".figure").first).to_contain_text("$")
    server, _, name = sample_copy.rpartition("/")
    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false".encode())
        try:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name]
            )
            page.reload()
            expect(page.get_by_role("alert")).to_be_visible()
            assert "$" not in page.locator("main").inner_text()
        finally:
            connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true".encode())
    page.reload(wait_until="networkidle")
    expect(page.locator(".figure").first).to_contain_text("$")


def test_every_form_can_be_sent_as_it_is(sample: Dashboard, opened: Callable[..., Page]) -> None:
    """A form sends its empty fields, too: that is the page it is on."""
    page = opened(sample.url)
    sent: list[str] = []
    for each in PAGES:
        if "{" in each.path or each.is_part or not each.media_type.startswith("text/html"):
            continue
        page.goto(f"{sample.url}{each.path}?month=this&where=team=research")
        button = page.locator("main form button").first
        if button.count():
            button.click()
            expect(page.get_by_role("alert")).to_have_count(0)
            assert page.url.startswith(f"{sample.url}{each.path}?"), each.path
            sent.append(each.path)
    assert {"/", "/why", "/explore", "/users", "/tenants", "/runs", "/calls"} <= {*sent}


def test_a_typed_start_replaces_the_month(sample: Dashboard, opened: Callable[..., Page]) -> None:
    page = opened(f"{sample.url}/?month=this")
    page.get_by_role("textbox", name="Since").fill("2d")
    page.get_by_role("button", name="Show").click()
    assert "since=2d" in page.url
    assert "month=this" not in page.url
