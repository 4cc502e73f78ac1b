"""Every page by the rules of WCAG 2.2 AA: light and dark, desktop and phone; nothing overflows."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from axe_playwright_python.sync_playwright import (  # pyright: ignore[reportMissingTypeStubs]
    Axe,
)
from playwright.sync_api import expect

from exporter.web.browser.conftest import PHONE, WIDE
from support.ledger_rows import ask
from tokenledger_exporter.web.pages.all_pages import PAGES

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Page

    from support.dashboard import Dashboard

ALL_RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
# The dark theme has other colors, and nothing else.
RULES = {"light": ALL_RULES, "dark": {"runOnly": ["color-contrast"]}}
VIEWS = [
    *("/explore?by=team&compare=true", "/explore?measure=latency&by=day"),
    *("/runs?kind=session", "/users?search=nobody", "/calls?status=error&limit=5"),
    *("/prices/model?provider=openai&model=gpt-4o", "/prices?limit=5&page=2"),
    *("/?where=team=support", "/?where=team=nobody", "/nothing", "/explore?by=mood"),
]


def paths_of(url: str) -> list[str]:
    """Every page, with the ids of one call where a path needs them, and some of their states."""
    columns = "event_id::text, trace_id, session_id, user_id"
    rows = ask(
        url,
        f"SELECT {columns} FROM token_ledger_events"
        " WHERE session_id <> '' AND trace_id <> '' ORDER BY timestamp DESC, event_id LIMIT 1",
    )
    event_id, trace_id, session_id, user_id = rows[0]
    ids = {
        "event_id": event_id,
        "run_id": trace_id,
        "user_id": quote(user_id, safe=""),
        "organization_id": "none",
    }
    pages = [page.path for page in PAGES if page.media_type.startswith("text/html")]
    named = [re.sub(r"\{(\w+)(:\w+)?\}", lambda match: ids[match[1]], path) for path in pages]
    panels = {page.path for page in PAGES if page.is_part}
    whole = [path for path in named if path not in panels]
    return [*whole, f"/runs/{quote(session_id, safe='')}?kind=session", *VIEWS]


def show(page: Page, url: str) -> None:
    """Open a page with all of its panels, which are loaded when they come into view."""
    page.goto(url, wait_until="load")
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    expect(page.locator("[aria-busy]")).to_have_count(0)


def violations(page: Page, rules: dict[str, list[str]]) -> list[str]:
    axe: Any = Axe()
    response = axe.run(page, options=rules).response
    return [
        f"{each['id']}: {node['html'][:200]} {node.get('failureSummary', '')[:300]}"
        for each in response["violations"]
        for node in each["nodes"]
    ]


@pytest.mark.parametrize(
    ("size", "scheme"), [(WIDE, "light"), (WIDE, "dark"), (PHONE, "light"), (PHONE, "dark")]
)
def test_no_page_breaks_a_rule(
    sample: Dashboard,
    sample_copy: str,
    opened: Callable[..., Page],
    size: tuple[int, int],
    scheme: str,
) -> None:
    problems: dict[str, list[str]] = {}
    page = opened(sample.url, size, scheme)
    for path in paths_of(sample_copy):
        show(page, sample.url + path)
        if found := violations(page, RULES[scheme]):
            problems[path] = found
    assert problems == {}


@pytest.mark.parametrize("size", [WIDE, PHONE])
def test_names_of_any_kind_stay_text_and_inside_the_page(
    hostile: Dashboard, database_url: str, opened: Callable[..., Page], size: tuple[int, int]
) -> None:
    """Nothing runs, which `opened` checks, and the page cannot be scrolled sideways."""
    page = opened(hostile.url, size)
    wide: list[str] = []
    for path in paths_of(database_url):
        show(page, hostile.url + path)
        if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
            wide.append(path)
        assert page.locator("main img, main script").count() == 0
    assert wide == []
