"""Draws the costs of a result; what is not known is marked and never drawn as 0."""

# Matplotlib's own types leave its keyword arguments open.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Final

from tokenledger_exporter.errors import InvalidRequestError
from tokenledger_exporter.plain_text import visible
from tokenledger_exporter.queries.notebook.flat import cost_column, label_columns, mark_of
from tokenledger_exporter.queries.notebook.frames import missing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from tokenledger_exporter.queries.notebook.flat import Record

MAX_BARS: Final = 30
"""Bars of a plot; the title says how many groups are left out."""

_TIMES: Final = ("hour", "day", "month", "date")
_UNKNOWN: Final = "?"
_GRAY: Final = "#7a7a7a"
_TITLE_WIDTH: Final = 62
_MARKS: Final = {
    "+": "+ calls without a known cost are missing",
    "~": "~ some are partial or estimated",
}
_LONGEST_LABEL: Final = 40
_BAR_INCHES: Final = 0.32
_WIDTH: Final = 7.5
_LINE_HEIGHT: Final = 4.0
_MIN_HEIGHT: Final = 2.2
_MARGIN: Final = 1.4


def draw(records: Sequence[Record], sentences: Sequence[str], ax: Axes | None) -> Axes:
    """Draw the records.

    Args:
        records: the rows of a result.
        sentences: the coverage, below the plot.
        ax: where to draw; `None` makes a figure.

    Raises:
        InvalidRequestError: matplotlib is not installed, or there is nothing to draw.
    """
    try:
        # Its figures are shown by notebooks and by plt.show().
        from matplotlib import pyplot as plt
    except ModuleNotFoundError:
        raise missing("matplotlib") from None
    cost = cost_column(records)
    if not cost:
        raise InvalidRequestError("the result has no rows with a cost, so there is nothing to plot")
    labels = label_columns(records)
    times = [name for name in labels if name in _TIMES]
    if ax is None:
        height = _MARGIN + _BAR_INCHES * min(len(records), MAX_BARS)
        size = (_WIDTH, _LINE_HEIGHT if times else max(_MIN_HEIGHT, height))
        ax = plt.subplots(figsize=size, layout="constrained")[1]
    if times:
        others = [name for name in labels if name != times[0]]
        _draw_lines(ax, records, times[0], others, cost)
    else:
        _draw_bars(ax, records, labels, cost)
    _describe(ax, sentences, is_cut=not times and len(records) > MAX_BARS, count=len(records))
    return ax


def _draw_bars(ax: Axes, records: Sequence[Record], labels: Sequence[str], cost: str) -> None:
    """A bar for each row, the first one at the top."""
    shown = records[:MAX_BARS]
    names = [_name(record, labels) for record in shown]
    places = list(range(len(shown)))
    known = [place for place in places if shown[place][cost] is not None]
    widths = [float(shown[place][cost]) for place in known]
    ax.barh(known, widths, color=["#3b6fb6" if width >= 0 else "#b6503b" for width in widths])
    for place, record in enumerate(shown):
        value = record[cost]
        mark = f"{_UNKNOWN} unknown" if value is None else mark_of(record)
        ax.text(max(0.0, float(value or 0)), place, f" {mark}", va="center", color=_GRAY)
    ax.set_yticks(places, names)
    ax.invert_yaxis()
    marks = sorted({letter for record in shown for letter in mark_of(record)})
    ax.set_xlabel("; ".join(["US dollars", *(_MARKS[mark] for mark in marks)]), fontsize="small")
    ax.axvline(0, color="#444444", linewidth=0.8)


def _draw_lines(
    ax: Axes, records: Sequence[Record], time: str, others: Sequence[str], cost: str
) -> None:
    """A line over time for each of the other groups; a line is interrupted where it is unknown."""
    moments = sorted({record[time] for record in records})
    places = {moment: place for place, moment in enumerate(moments)}
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(_name(record, others), []).append(record)
    for name, rows in list(groups.items())[:MAX_BARS]:
        costs = {places[row[time]]: row[cost] for row in rows}
        heights = [
            float("nan") if (value := costs.get(place, 0)) is None else float(value)
            for place in range(len(moments))
        ]
        ax.plot(range(len(moments)), heights, marker=".", label=name)
        for place, value in costs.items():
            if value is None:
                ax.text(place, 0, _UNKNOWN, ha="center", va="bottom", color=_GRAY)
    step = max(1, len(moments) // 8)
    ax.set_xticks(range(0, len(moments), step), [str(m) for m in moments[::step]], rotation=30)
    ax.set_ylim(bottom=0)
    ax.set_ylabel("US dollars")
    if others:
        ax.legend(fontsize="small")


def _describe(ax: Axes, sentences: Sequence[str], *, is_cut: bool, count: int) -> None:
    """The coverage, as the title; and how many groups are not drawn."""
    lines = [line for each in sentences for line in textwrap.wrap(visible(each), _TITLE_WIDTH)]
    if is_cut:
        lines.append(f"{count - MAX_BARS:,} more groups are not drawn")
    ax.set_title("\n".join(lines).replace("$", r"\$"), fontsize="small", loc="left")
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)


def _name(record: Record, labels: Sequence[str]) -> str:
    """The values of a row; a dollar sign would begin a formula."""
    text = " / ".join(visible(str(record[name])) or "-" for name in labels) or "total"
    short = text if len(text) <= _LONGEST_LABEL else f"{text[: _LONGEST_LABEL - 1]}…"
    return short.replace("$", r"\$")
