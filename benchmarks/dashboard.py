"""How fast the dashboard is over a ledger of millions of calls that is written to meanwhile.

A real Chromium loads and filters the first page, the API is asked by every dimension, and viewers
refresh while a writer keeps its rate: `make bench-dashboard`.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import psycopg
from playwright.sync_api import sync_playwright

from benchmarks.answers import load, made_ledger
from support.ports import free_port
from tokenledger_exporter.db.dimensions import BUCKETS, dimension_names
from tokenledger_exporter.embedded.postgres import temporary_postgres

if TYPE_CHECKING:
    from collections.abc import Generator

    from playwright.sync_api import Browser, Page

_SERVER: Final = {"shared_buffers": "1GB", "max_wal_size": "4GB"}
_RATE, _BATCH = 2_000, 200
_COLD_LOADS: Final = 10
_CLICKS: Final = 200
_API_ROUNDS: Final = 40
_SESSION, _SESSION_ROUNDS = "session", 3
_VIEWERS: Final = 50
_REFRESH_SECONDS: Final = 5.0
_VIEW_SECONDS: Final = 60.0
_ARGUMENTS: Final = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
_OBSERVE: Final = """
window.measured = { shift: 0, longest: 0 };
new PerformanceObserver((list) => { for (const entry of list.getEntries())
  if (!entry.hadRecentInput) window.measured.shift += entry.value;
}).observe({ type: "layout-shift", buffered: true });
new PerformanceObserver((list) => { for (const entry of list.getEntries())
  window.measured.longest = Math.max(window.measured.longest, entry.duration);
}).observe({ type: "longtask", buffered: true });
"""
# Usable: every figure is there and the charts are drawn. Panels that read each call come later.
_USABLE: Final = (
    "() => document.readyState !== 'loading' && document.querySelector('.figure') &&"
    " [...document.querySelectorAll('figure[data-chart] .plot')]"
    ".every((plot) => plot.querySelector('canvas')) && performance.now()"
)
_FILTERS: Final = (
    "/?since=7d",
    "/",
    "/?where=team%3Dteam-1",
    "/?since=90d",
    "/?where=feature%3Dfeature-2",
    "/?month=this",
    "/?where=organization%3Dorg-7",
    "/?where=model%3Dmodel-3",
)


def main(rows: int = 3_000_000, seconds: float = _VIEW_SECONDS) -> None:
    """Measure and print every figure.

    Args:
        rows: calls of 30 days in the ledger.
        seconds: how long viewers refresh.
    """
    with temporary_postgres(_SERVER) as server:
        url = made_ledger(server, "large", rows)
        with _dashboard(url) as address, load(url, _RATE, _BATCH, 36_000):
            _print_browser(address)
            _print_api(address)
        with _dashboard(url) as address:
            _print_viewers(url, address, seconds)


@contextmanager
def _dashboard(url: str) -> Generator[str]:
    command = str(Path(sys.executable).parent / "tokenledger")
    port = free_port()
    arguments = ("dashboard", "--port", str(port), "--database-url", url)
    with subprocess.Popen((command, *arguments), stdout=subprocess.DEVNULL) as process:
        try:
            while _status(port, "/health") != 200:
                time.sleep(0.1)
            yield f"127.0.0.1:{port}"
        finally:
            process.terminate()


def _status(port: int, path: str) -> int:
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except OSError:
        return 0
    finally:
        connection.close()


def _print_browser(address: str) -> None:
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        print("browser: skipped, no Chromium is installed")
        return
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=_ARGUMENTS)
        cold: list[float] = []
        shifts: list[float] = []
        tasks: list[float] = []
        for _ in range(_COLD_LOADS):
            page = _new_page(browser)
            cold.append(_load_page(page, f"http://{address}/"))
            page.wait_for_load_state("networkidle")
            measured: Any = page.evaluate("window.measured")
            shifts.append(measured["shift"])
            tasks.append(measured["longest"])
            page.context.close()
        page = _new_page(browser)
        _load_page(page, f"http://{address}/")
        clicks = sorted(
            _load_page(page, f"http://{address}{_FILTERS[number % len(_FILTERS)]}")
            for number in range(_CLICKS)
        )
        by_filter = {path: _load_page(page, f"http://{address}{path}") for path in _FILTERS}
        browser.close()
    print(
        f"first page, cold cache: median {sorted(cold)[len(cold) // 2]:.0f} ms, slowest"
        f" {max(cold):.0f} ms (aim: <= 1,000)"
    )
    print(
        f"after a filter: p50 {clicks[len(clicks) // 2]:.0f} ms, p95"
        f" {clicks[len(clicks) * 95 // 100]:.0f} ms of {len(clicks)} (aim: <= 300)"
    )
    for path, took in by_filter.items():
        print(f"  {path:32} {took:6.0f} ms")
    print(
        f"layout shift {max(shifts):.4f} (aim: <= 0.02), longest task {max(tasks):.0f} ms"
        " (aim: <= 100; 0 is none above 50)"
    )


def _new_page(browser: Browser) -> Page:
    page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
    page.add_init_script(_OBSERVE)
    return page


def _load_page(page: Page, url: str) -> float:
    """Milliseconds from the start of the navigation until the page is usable.

    The next page is opened when the panels of this one are there, as by a person who reads it.
    """
    page.goto(url, wait_until="commit")
    took = float(page.wait_for_function(_USABLE, polling="raf").json_value())
    page.wait_for_load_state("networkidle")
    return took


def _print_api(address: str) -> None:
    """Every dimension in turn, each by its own roll-up."""
    names = [name for name in dimension_names()[:-1] if name not in BUCKETS]
    # Sessions have no sums, because they are as many as calls: they are read from the calls.
    from_sums = [name for name in names if name != _SESSION]
    host, _, port = address.partition(":")
    connection = HTTPConnection(host, int(port), timeout=60)
    taken: dict[str, list[float]] = {name: [] for name in names}
    for number in range(_API_ROUNDS + 2):
        for name in names if number < _SESSION_ROUNDS + 2 else from_sums:
            started = time.perf_counter()
            connection.request("GET", f"/api/v1/report?by={name}&since=30d&limit=100")
            connection.getresponse().read()
            if number > 1:
                taken[name].append((time.perf_counter() - started) * 1000)
    every = sorted(each for name in from_sums for each in taken[name])
    print(
        f"API by any of {len(from_sums)} dimensions: median {every[len(every) // 2]:.1f} ms, p99"
        f" {every[len(every) * 99 // 100]:.1f} ms of {len(every)} (aim: <= 60)"
    )
    for name, times in taken.items():
        median = sorted(times)[len(times) // 2]
        print(f"  {name:14} median {median:7.1f} ms, slowest {max(times):7.1f} ms")


def _print_viewers(url: str, address: str, seconds: float) -> None:
    """A writer offered a rate, alone and with viewers; how far the roll-ups are behind."""
    alone = _written(url, seconds / 2)
    port = address.rpartition(":")[2]
    stop = threading.Event()
    statuses: list[int] = []

    def view(number: int) -> None:
        stop.wait(number * _REFRESH_SECONDS / _VIEWERS)
        while not stop.is_set():
            began = time.monotonic()
            statuses.append(_status(int(port), "/"))
            stop.wait(max(0.0, _REFRESH_SECONDS - (time.monotonic() - began)))

    viewers = [threading.Thread(target=view, args=(number,)) for number in range(_VIEWERS)]
    for viewer in viewers:
        viewer.start()
    with_viewers = _written(url, seconds)
    stop.set()
    for viewer in viewers:
        viewer.join()
    refused = len(statuses) - statuses.count(200)
    print(
        f"writer offered {_RATE:,} rows/s: {alone[0]:,.0f} alone, {with_viewers[0]:,.0f} with"
        f" {_VIEWERS} viewers = {with_viewers[0] / _RATE:.2f} (aim: >= 0.95); the oldest mark"
        f" waited {with_viewers[1]:.1f} s at most (aim: < 2); {len(statuses)} pages, {refused} of"
        " them without an answer"
    )


def _written(url: str, seconds: float) -> tuple[float, float]:
    """Rows a second, and the largest lag of the roll-ups in seconds."""
    question = (
        "SELECT COALESCE(extract(epoch FROM clock_timestamp() - min(recorded_at)), 0)::float8"
        " FROM token_ledger_rollup_dirty_slices"
    )
    lags: list[float] = []
    with (
        load(url, _RATE, _BATCH, seconds) as writer,
        psycopg.connect(url, autocommit=True) as connection,
    ):
        while writer.poll() is None:
            [(lag,)] = connection.execute(question).fetchall()
            lags.append(lag)
            time.sleep(0.2)
        assert writer.stdout is not None
        written, took = map(float, writer.stdout.read().split())
    return written / took, max(lags)


if __name__ == "__main__":
    words = sys.argv[1:]
    main(int(words[0]) if words else 3_000_000, *map(float, words[1:]))
