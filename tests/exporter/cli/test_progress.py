"""Progress is on a terminal only, and only of work that takes long."""

from __future__ import annotations

import io
import threading
from datetime import datetime, timedelta, timezone

import psycopg
import pytest

from tokenledger_exporter.cli.progress import Progress
from tokenledger_exporter.maintenance.reprice import Selection, count_rows, reprice
from tokenledger_exporter.pricing.catalog.genai_prices import import_package_prices
from tokenledger_exporter.rollups import refresh
from tokenledger_exporter.rollups.verify import verify

CLEAR = "\r\x1b[2K"


class Terminal(io.StringIO):
    def __init__(self, *, is_terminal: bool = True) -> None:
        super().__init__()
        self.is_terminal = is_terminal
        self.is_drawn = threading.Event()

    def isatty(self) -> bool:
        return self.is_terminal

    def flush(self) -> None:
        self.is_drawn.set()


@pytest.mark.parametrize(
    ("done", "total", "line"),
    [
        # 400 of 1,000 in 4 s is 100/s, and the other 600 take 6 s.
        (400, 1_000, "repricing: 400 of 1,000 rows, 100/s, 6 s left"),
        # 4 in 4 s is 1/s, and 396 seconds are 6 minutes and 36 seconds.
        (4, 400, "repricing: 4 of 400 rows, 1.0/s, 6 min 36 s left"),
        (8_000, None, "repricing: 8,000 rows, 2,000/s"),
        (0, 1_000, "repricing: 4 s"),
        # Rows were added since they were counted.
        (1_200, 1_000, "repricing: 1,200 of 1,000 rows, 300/s, 0 s left"),
    ],
)
def test_the_line_has_the_rate_and_the_time_left(done: int, total: int | None, line: str) -> None:
    progress = Progress("repricing", "rows", Terminal())
    progress.update(done, total)
    assert progress.line(4.0) == line


def test_the_line_is_drawn_on_a_terminal_and_removed_at_the_end() -> None:
    terminal = Terminal()
    with Progress("copying rows", stream=terminal, silent_seconds=0):
        assert terminal.is_drawn.wait(30)
    assert terminal.getvalue().startswith(f"{CLEAR}copying rows: 0 s")
    assert terminal.getvalue().endswith(CLEAR)


def test_short_work_and_a_pipe_show_nothing() -> None:
    terminal, pipe = Terminal(), Terminal(is_terminal=False)
    with Progress("copying rows", stream=terminal):
        pass
    with Progress("copying rows", stream=pipe, silent_seconds=0) as progress:
        assert not progress.is_shown
    assert terminal.getvalue() == pipe.getvalue() == ""


def test_long_work_reports_how_much_is_done(database_url: str) -> None:
    calls: list[tuple[int, int | None]] = []

    def record(done: int, total: int | None) -> None:
        calls.append((done, total))

    now = datetime.now(timezone.utc)
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "INSERT INTO token_ledger_events (provider, model) "
            "SELECT 'openai', 'gpt-4o' FROM generate_series(1, 1500)"
        )
        connection.commit()
        selection = Selection(now - timedelta(days=1), now + timedelta(days=1), models=["gpt-4o"])
        total = count_rows(connection, selection)
        reprice(connection, selection, reason=None, total=total, on_progress=record)
        # Batches of 1,000 rows.
        assert calls == [(1_000, 1_500), (1_500, 1_500)]
        calls.clear()
        import_package_prices(connection, record)
        assert calls[0] == (1, None)
        assert len(calls) == calls[-1][0]
        calls.clear()
        refresh.refresh(connection)
    assert verify(database_url, record) == []
    assert calls == [(0, 1)]
