"""Bars are as long as their share of the highest cost, and marks as high."""

from __future__ import annotations

import io
import sys
from datetime import datetime, timedelta, timezone
from decimal import Decimal

import pytest
from rich.cells import cell_len

from tokenledger_exporter.domain.coverage import Coverage, sum_coverage
from tokenledger_exporter.queries.report import Report, ReportRow
from tokenledger_exporter.render.chart import bar, render_chart, sparkline

SINCE = datetime(2026, 11, 1, tzinfo=timezone.utc)


@pytest.fixture(autouse=True)
def unicode_output(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="utf-8"))
    monkeypatch.setenv("COLUMNS", "80")


def ascii_output(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))


def row(cost: str | None, *labels: str) -> ReportRow:
    coverage = Coverage(unpriced=1) if cost is None else Coverage(priced=1)
    return ReportRow(labels, Decimal(cost or 0), 1, 1_000, 100, 0, coverage)


def report(*rows: ReportRow, by: tuple[str, ...], days: int = 5, more_calls: int = 0) -> Report:
    cost = sum((row.cost_usd for row in rows), Decimal(0))
    coverage = sum_coverage([row.coverage for row in rows])
    total = ReportRow((), cost, len(rows) + more_calls, 0, 0, 0, coverage)
    return Report(by, SINCE, SINCE + timedelta(days=days), rows, total)


@pytest.mark.parametrize(
    ("cost", "blocks", "letters"),
    [
        ("8", "████", "####"),
        ("4", "██", "##"),
        # 3 of 8 over 4 characters is 1.5 characters.
        ("3", "█▌", "#"),
        ("0.0001", "▏", "#"),
        ("0", "", ""),
        (None, "", ""),
    ],
)
def test_a_bar_shows_the_share_of_the_highest_cost(
    cost: str | None, blocks: str, letters: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    usd = None if cost is None else Decimal(cost)
    assert bar(usd, Decimal(8), 4) == blocks
    ascii_output(monkeypatch)
    assert bar(usd, Decimal(8), 4) == letters


def test_a_mark_is_higher_for_a_higher_cost_and_an_unknown_cost_has_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    costs = [Decimal(8), Decimal(4), Decimal("0.1"), Decimal(0), None]
    assert sparkline(costs, Decimal(8)) == "█▅▁ ?"
    ascii_output(monkeypatch)
    assert sparkline(costs, Decimal(8)) == "#+. ?"


def test_days_without_calls_have_their_place() -> None:
    days = report(
        row("1", "2026-11-01"), row("2", "2026-11-03"), row(None, "2026-11-04"), by=("day",)
    )
    lines = render_chart(days).splitlines()
    assert "cost from 2026-11-01 to 2026-11-05, a mark is 1 day, the highest $2.000000" in lines
    assert "|▅ █? |" in lines
    assert lines[-1] == "coverage: 2 of 3 calls priced (66.6%), 1 unpriced"


def test_each_group_has_its_line_of_marks() -> None:
    rows = (row("4", "2026-11-01", "chat"), row("2", "2026-11-02", "search"))
    lines = render_chart(report(*rows, by=("day", "feature"))).splitlines()
    assert "chat    |█    |" in lines
    assert "search  | ▅   |" in lines


def test_many_hours_share_a_mark(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    hours = (
        row("1", "2026-11-01 00:00"),
        row("2", "2026-11-01 04:00"),
        row("3", "2026-11-01 05:00"),
    )
    lines = render_chart(report(*hours, by=("hour",))).splitlines()
    # 120 hours over 26 marks: 5 hours each, so 1 + 2 = 3 in the first.
    assert "|" + "██".ljust(24) + "|" in lines
    assert "a mark is 5 hours" in " ".join(lines)


def test_a_chart_over_time_needs_all_groups() -> None:
    lines = render_chart(report(row("1", "2026-11-01"), by=("day",), more_calls=3)).splitlines()
    assert "no chart over time: some groups are not shown; --limit shows more" in lines


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_a_chart_fits_the_terminal(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    rows = (
        row("1234.5", "2026-11-01", "claude-sonnet-4-5-20250929"),
        row("2", "2026-11-02", "gpt-4o"),
        row(None, "2026-11-02", "acme"),
    )
    lines = render_chart(report(*rows, by=("day", "model"))).splitlines()[:-2]
    assert max(map(cell_len, lines)) <= width
    assert any("█" in line for line in lines)


def test_a_report_without_groups_or_calls_has_no_bars() -> None:
    assert "█" not in render_chart(report(by=("day",)))
    assert "█" not in render_chart(report(row("1"), by=()))
