"""Renders a frame of `tokenledger top` as text."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Final

from tokenledger_exporter.render.chart import with_bars
from tokenledger_exporter.render.columns import Column, draw_table, terminal_width
from tokenledger_exporter.render.report import columns_of, legend, marked_cost

if TYPE_CHECKING:
    from datetime import timedelta, tzinfo

    from tokenledger_exporter.queries.live.top import Frame, Window

_SHOWN: Final = frozenset({"cost $", "calls", "without cost"})
_HOUR: Final = 3_600


def render_frame(frame: Frame, zone: tzinfo) -> str:
    """The frame as text, ending with a line break."""
    report = frame.report
    taken_at = frame.taken_at.astimezone(zone)
    names = ", ".join(report.by)
    columns = [
        column
        for position, column in enumerate(columns_of(report))
        if position < len(report.by) or column.title in _SHOWN
    ]
    length = report.until - report.since
    groups = draw_table(with_bars(report, columns)) if report.rows else "no calls\n"
    day = frame.windows[-1]
    coverage = textwrap.wrap(f"{day.name}: {day.totals.coverage.sentence}", terminal_width())
    below = [*legend(report), *coverage, ""]
    return (
        f"{taken_at:%Y-%m-%d %H:%M:%S %Z}\n\n"
        f"{draw_table(_window_columns(frame))}\n"
        f"highest cost by {names}, last {_length(length)}\n\n"
        f"{groups}" + "\n".join(below)
    )


def _window_columns(frame: Frame) -> list[Column]:
    """A row for each figure, and a column for each period."""
    names = ("cost $", "calls", "calls per second", "errors", "input tokens", "output tokens")
    return [
        Column("", names, is_whole=True),
        *(Column(window.name, list(_figures(window)), is_number=True) for window in frame.windows),
    ]


def _figures(window: Window) -> tuple[str, ...]:
    totals = window.totals
    rate = window.calls_per_second
    return (
        marked_cost(totals),
        f"{totals.calls:,}",
        f"{rate:,.3f}" if rate < 1 else f"{rate:,.1f}",
        f"{window.errors:,} ({_percent(window.errors, totals.calls)})",
        f"{totals.input_tokens:,}",
        f"{totals.output_tokens:,}",
    )


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f}%" if whole else "0.0%"


def _length(length: timedelta) -> str:
    """The period in hours, without its margin for clocks that differ."""
    hours = int(length.total_seconds()) // _HOUR
    return "hour" if hours == 1 else f"{hours} h"
