"""A report as a chart for a terminal: a bar for each group, a line of marks for costs over time.

Without block characters in the encoding of standard output, the marks are ASCII. Nothing has color.
"""

from __future__ import annotations

import textwrap
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from rich.cells import cell_len, set_cell_size

from tokenledger_exporter.db.dimensions import BUCKETS, zone_of
from tokenledger_exporter.plain_text import counted, visible
from tokenledger_exporter.queries.over_time.trends import hour_starts
from tokenledger_exporter.render.columns import (
    Column,
    can_show,
    draw_table,
    remaining_room,
    terminal_width,
)
from tokenledger_exporter.render.report import body, columns_of, lines_below

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import tzinfo

    from tokenledger_exporter.queries.report import Report

# Eighths of a character.
_BAR: Final = "▏▎▍▌▋▊▉█"
_ASCII_BAR: Final = "#"
_HEIGHTS: Final = "▁▂▃▄▅▆▇█"
_ASCII_HEIGHTS: Final = ".:-=+*%#"
_UNKNOWN_MARK: Final = "?"

_MIN_BAR_WIDTH: Final = 8
_MAX_BAR_WIDTH: Final = 40
_MAX_SERIES: Final = 12
_MAX_LABEL_WIDTH: Final = 24
# A table has the tokens; a chart uses their room for its bars.
_LEFT_OUT: Final = frozenset({"input tokens", "output tokens", "cached tokens"})

_Amount = Decimal | None


def render_chart(report: Report) -> str:
    """The report with a bar for each group, ending with a line break.

    A report by hour, day or month has a line of marks for each of its other groups.
    """
    columns = [column for column in columns_of(report) if column.title not in _LEFT_OUT]
    table = draw_table(with_bars(report, columns))
    return "".join((table, *_sparklines(report), lines_below(report)))


def with_bars(report: Report, columns: Sequence[Column]) -> list[Column]:
    """The columns of a report, followed by one with a bar for each group."""
    costs = [row.known_cost_usd for row in body(report)]
    if not report.by or not any(costs):
        return list(columns)
    width = min(remaining_room(columns), _MAX_BAR_WIDTH)
    bars = _bars(costs, max(width, _MIN_BAR_WIDTH))
    return [*columns, Column(title="", cells=bars, is_whole=True)]


def _bars(costs: Sequence[_Amount], width: int) -> list[str]:
    highest = max(cost for cost in costs if cost is not None)
    return [bar(cost, highest, width) for cost in costs]


def bar(cost: Decimal | None, highest: Decimal, width: int) -> str:
    """A bar whose length is the cost's share of the highest one; any cost above 0 has a mark.

    Args:
        cost: what the bar shows; `None` has no bar.
        highest: the cost of a bar over the whole width.
        width: in characters.
    """
    if not cost or not highest:
        return ""
    if not can_show(_BAR):
        return _ASCII_BAR * max(1, int(cost * width / highest))
    whole, eighths = divmod(max(1, int(cost * width * len(_BAR) / highest)), len(_BAR))
    return _BAR[-1] * whole + (_BAR[eighths - 1] if eighths else "")


def sparkline(costs: Sequence[Decimal | None], highest: Decimal) -> str:
    """A mark for each cost: higher for a higher cost, a space for 0, `?` if it is not known."""
    heights = _HEIGHTS if can_show(_HEIGHTS) else _ASCII_HEIGHTS
    return "".join(
        _UNKNOWN_MARK
        if cost is None
        else heights[min(int(cost * len(heights) / highest), len(heights) - 1)]
        if cost and highest
        else " "
        for cost in costs
    )


def _sparklines(report: Report) -> Iterator[str]:
    """The lines of marks, if the report is by one of hour, day and month."""
    buckets = [name for name in report.by if name in BUCKETS]
    if len(buckets) != 1 or not report.rows:
        return
    if sum(row.calls for row in report.rows) != report.totals.calls:
        yield "no chart over time: some groups are not shown; --limit shows more\n"
        return
    [bucket] = buckets
    names = list(_bucket_names(report, bucket))
    series = _series(report, report.by.index(bucket))
    shown = sorted(series.items(), key=lambda item: _total(item[1]), reverse=True)
    label_width = min(max(map(cell_len, series)), _MAX_LABEL_WIDTH)
    room = terminal_width() - label_width - len("  ||")
    per_mark = -(-len(names) // room)
    lines = {label: _merged(costs, names, per_mark) for label, costs in shown[:_MAX_SERIES]}
    highest = max((cost for line in lines.values() for cost in line if cost), default=Decimal(0))
    mark = f"1 {bucket}" if per_mark == 1 else f"{per_mark} {bucket}s"
    title = f"cost from {names[0]} to {names[-1]}, a mark is {mark}, the highest ${highest:,.6f}"
    yield "\n".join([*textwrap.wrap(title, terminal_width()), ""])
    for label, line in lines.items():
        name = f"{_fitted(label, label_width)}  " if label_width else ""
        yield f"{name}|{sparkline(line, highest)}|\n"
    if more := len(shown) - _MAX_SERIES:
        yield f"{counted(more, 'more group')}\n" if more > 0 else ""
    yield "\n"


def _series(report: Report, position: int) -> dict[str, dict[str, _Amount]]:
    """The costs of each group of the other dimensions, by hour, day or month."""
    series: dict[str, dict[str, _Amount]] = {}
    for row in report.rows:
        others = (*row.labels[:position], *row.labels[position + 1 :])
        label = ", ".join(visible(text) or "-" for text in others)
        series.setdefault(label, {})[row.labels[position]] = row.known_cost_usd
    return series


def _total(costs: Mapping[str, _Amount]) -> Decimal:
    return sum((cost for cost in costs.values() if cost is not None), Decimal(0))


def _merged(
    costs: Mapping[str, _Amount], names: Sequence[str], per_mark: int
) -> list[Decimal | None]:
    """The costs in order, so many periods in one; a period without calls cost 0."""
    merged: list[Decimal | None] = []
    for start in range(0, len(names), per_mark):
        group = [costs[name] for name in names[start : start + per_mark] if name in costs]
        known = [cost for cost in group if cost is not None]
        merged.append(sum(known, Decimal(0)) if known or not group else None)
    return merged


def _bucket_names(report: Report, bucket: str) -> Iterator[str]:
    """All hours, days or months of the period up to now, as the report names them."""
    zone = zone_of(report.zone)
    now = datetime.now(timezone.utc)
    until = max(min(report.until - timedelta(microseconds=1), now), report.since)
    yield from dict.fromkeys(_starts(report.since, until, bucket, zone))


def _starts(since: datetime, until: datetime, bucket: str, zone: tzinfo) -> Iterator[str]:
    if bucket == "hour":
        for start in hour_starts(since, until, zone):
            yield f"{start.astimezone(zone):%Y-%m-%d %H:00}"
        return
    day, last = since.astimezone(zone).date(), until.astimezone(zone).date()
    while day <= last:
        yield f"{day:%Y-%m-%d}" if bucket == "day" else f"{day:%Y-%m}"
        day += timedelta(days=1)


def _fitted(label: str, width: int) -> str:
    if cell_len(label) <= width:
        return set_cell_size(label, width)
    return set_cell_size(label, width - 3) + "..."
