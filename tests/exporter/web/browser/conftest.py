"""A real Chromium over a dashboard of the sample ledger, and of a ledger with hostile names."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from playwright.sync_api import Error, sync_playwright

from support.dashboard import Dashboard
from tokenledger_exporter.web.options import DashboardOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from playwright.sync_api import Browser, ConsoleMessage, Page

NAMES = ("chromium", "chromium-browser", "google-chrome")
# No sandbox: tests may run as root. The others keep the browser from calling home.
ARGUMENTS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
]
WIDE, PHONE = (1280, 900), (390, 844)


# Playwright runs an event loop, which tests of asyncio in the same process must not find.
@pytest.fixture(scope="module")
def browser() -> Generator[Browser]:
    path = next((path for name in NAMES if (path := shutil.which(name))), None)
    if path is None:
        pytest.skip(f"no Chromium is installed: none of {', '.join(NAMES)} is on PATH")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield running
        running.close()


@pytest.fixture
def sample(sample_copy: str) -> Generator[Dashboard]:
    """A dashboard of the sample ledger."""
    with Dashboard(DashboardOptions(database_url=sample_copy)) as dashboard:
        yield dashboard


@pytest.fixture
def hostile(database_url: str) -> Generator[Dashboard]:
    """A dashboard of calls whose every name is markup, very long, right to left or emoji."""
    names = [
        "<img src=x onerror=alert(1)><script>alert(2)</script>",
        "x" * 250,
        "\u202eevil\u202c مستخدم جديد",
        "👩‍👩‍👧‍👦 家族 " * 20,
        "{{ 7 * 7 }} ${1+1} %s",
    ]
    with psycopg.connect(database_url) as connection, connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO token_ledger_events (timestamp, provider, model, user_id, team, feature,"
            " organization_id, agent_id, session_id, endpoint, app_name, trace_id, cost_status,"
            " cost_usd, input_tokens, output_tokens)"
            " VALUES (now() - interval '1 hour', 'openai', %(n)s, %(n)s, %(n)s, %(n)s, %(n)s,"
            " %(n)s, %(n)s, %(n)s, %(n)s, md5(%(n)s), 'priced', 123456789.123456789, 1000000000,"
            " 1)",
            [{"n": name} for name in names],
        )
    with Dashboard(DashboardOptions(database_url=database_url)) as dashboard:
        yield dashboard


@pytest.fixture
def opened(browser: Browser) -> Generator[Callable[..., Page]]:
    """Opens pages; at the end, none may have logged an error or tried a request elsewhere."""
    problems: list[str] = []
    contexts: list[Any] = []

    def on_console(message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"} and "status of" not in message.text:
            problems.append(message.text)

    def open_page(url: str, size: tuple[int, int] = WIDE, scheme: str = "light") -> Page:
        context = browser.new_context(
            viewport={"width": size[0], "height": size[1]},
            color_scheme=scheme,  # type: ignore[arg-type]
            reduced_motion="reduce",
        )
        contexts.append(context)
        page = context.new_page()
        page.on("console", on_console)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("dialog", lambda dialog: problems.append(f"dialog: {dialog.message}"))
        page.on(
            "request",
            lambda request: (
                None
                if request.url.startswith("http://127.0.0.1:")
                else problems.append(request.url)
            ),
        )
        page.goto(url, wait_until="networkidle")
        return page

    yield open_page
    for context in contexts:
        try:
            context.close()
        except Error as error:
            problems.append(str(error))
    assert problems == []
