"""A small HTML table of a result; every text in it is escaped."""

from __future__ import annotations

from decimal import Decimal
from html import escape
from typing import TYPE_CHECKING, Any, Final

from tokenledger_exporter.plain_text import visible
from tokenledger_exporter.pricing.book import plain_usd
from tokenledger_exporter.queries.notebook.flat import COSTS, STATES, mark_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tokenledger_exporter.queries.notebook.flat import Record

MAX_ROWS: Final = 60
"""Rows of a table; a data frame has all."""

_MONEY: Final = frozenset({*COSTS, "previous_cost_usd"})
_RIGHT: Final = ' style="text-align: right"'
_LEFT: Final = ' style="text-align: left"'


def html_table(records: Sequence[Record], sentences: Sequence[str]) -> str:
    """The rows as a table, and the sentences below it.

    Money has six decimals, and all its digits in the cell's title. A `+` marks a cost that leaves
    out calls without a known cost, a `~` one that is partial or estimated.
    """
    columns = [name for name in (records[0] if records else ()) if name not in STATES]
    is_number = {name: _is_number(name, records) for name in columns}
    head = "".join(
        f"<th{_RIGHT if is_number[name] else _LEFT}>{_text(name.replace('_', ' '))}</th>"
        for name in columns
    )
    rows = [
        "<tr>" + "".join(_cell(record, name, is_number[name]) for name in columns) + "</tr>"
        for record in records[:MAX_ROWS]
    ]
    if more := len(records) - MAX_ROWS:
        rows += [f'<tr><td colspan="{len(columns)}">{more:,} more</td></tr>'] * (more > 0)
    below = "".join(f"<p>{_text(sentence)}</p>" for sentence in sentences)
    body = "\n".join(rows)
    table = f"<table><thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table>"
    return f"<div>{table}{below}</div>"


def _is_number(name: str, records: Sequence[Record]) -> bool:
    if name in _MONEY:
        return True
    return all(isinstance(record[name], int | float | Decimal | None) for record in records)


def _cell(record: Record, name: str, is_number: bool) -> str:
    value = record[name]
    align = _RIGHT if is_number else _LEFT
    if name in _MONEY and isinstance(value, Decimal):
        text = f"{value:,.6f}" + (mark_of(record) if name in COSTS[:2] else "")
        return f'<td{align} title="{plain_usd(value)}">{text}</td>'
    return f"<td{align}>{_text(_plain(value, is_money=name in _MONEY))}</td>"


def _plain(value: Any, *, is_money: bool) -> str:  # noqa: ANN401 - a cell
    if value is None:
        return "unknown" if is_money else "-"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, Decimal):
        return plain_usd(value)
    return str(value) or "-"


def _text(text: str) -> str:
    return escape(visible(text))
