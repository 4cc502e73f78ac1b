"""Take the pictures of the dashboard in docs/assets: real pages of the sample ledger, in Chromium.

`make screenshots`. The sample ends now, so the pictures differ each time and no test compares them.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from playwright.sync_api import sync_playwright

if TYPE_CHECKING:
    from collections.abc import Generator

    from playwright.sync_api import Browser

ASSETS: Final = Path(__file__).parents[1] / "docs" / "assets"
_NAMES: Final = ("chromium", "chromium-browser", "google-chrome")
_WIDE: Final = (1280, 860)
_PHONE: Final = (390, 844)


class Picture(NamedTuple):
    """One picture.

    Args:
        name: its file without `.png`.
        path: the page; `CALL` and `RUN` stand for the first link of that kind on `/runs`.
        scheme: light or dark.
        size: width and height of the window, in CSS pixels.
    """

    name: str
    path: str
    scheme: str = "light"
    size: tuple[int, int] = _WIDE


PICTURES: Final = (
    Picture("dashboard-overview", "/"),
    Picture("dashboard-overview-dark", "/", "dark"),
    Picture("dashboard-phone", "/", size=_PHONE),
    Picture("dashboard-why", "/why"),
    Picture("dashboard-latency", "/explore?measure=latency&by=day"),
    Picture("dashboard-run", "RUN"),
    Picture("dashboard-call", "CALL"),
    Picture("dashboard-health", "/ledger"),
)


def main() -> None:
    """Take every picture."""
    path = next((path for name in _NAMES if (path := shutil.which(name))), None)
    if path is None:
        sys.exit(f"no Chromium is installed: none of {', '.join(_NAMES)} is on PATH")
    with _sample() as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        for picture in PICTURES:
            _take(browser, address, picture)
        browser.close()


@contextmanager
def _sample() -> Generator[str]:
    command = Path(sys.executable).parent / "tokenledger"
    with subprocess.Popen(  # noqa: S603 - our own command
        (str(command), "dashboard", "--sample", "--port", "0"), stdout=subprocess.PIPE, text=True
    ) as process:
        lines = process.stdout or ()
        address = next(match[0] for line in lines if (match := re.search(r"http://[\d.:]+", line)))
        try:
            yield address
        finally:
            process.terminate()


def _take(browser: Browser, address: str, picture: Picture) -> None:
    context = browser.new_context(
        viewport={"width": picture.size[0], "height": picture.size[1]},
        color_scheme="dark" if picture.scheme == "dark" else "light",
    )
    page = context.new_page()
    path = picture.path
    if path in {"RUN", "CALL"}:
        page.goto(f"{address}/runs")
        page.locator("main tbody a[href^='/runs/']").first.click()
        if path == "CALL":
            page.locator("main tbody a[href^='/calls/']").first.click()
    else:
        page.goto(address + path)
    page.wait_for_load_state("networkidle")
    page.screenshot(path=ASSETS / f"{picture.name}.png")
    context.close()


if __name__ == "__main__":
    main()
