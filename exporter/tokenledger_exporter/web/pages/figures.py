"""Figures for people: few digits on the page, all of them in the element's `value`."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Final

from tokenledger_exporter.pricing.book import plain_usd

if TYPE_CHECKING:
    from tokenledger_exporter.queries.report import ReportRow

_CENT, _THOUSAND = Decimal("0.01"), Decimal(1_000)
_PERCENT: Final = 100


def money(value: Decimal | str | None) -> str:
    """An amount: few digits, more for a small one; `unknown` if it is not known."""
    if value is None:
        return "unknown"
    usd = Decimal(value)
    sign, size = "-" if usd < 0 else "", abs(usd)
    if size >= _THOUSAND or not size:
        return f"{sign}${size:,.2f}"
    return f"{sign}${size:,.4f}" if size >= _CENT else f"{sign}${size:,.6f}"


def exact(value: Decimal | str | None) -> str:
    """All digits of an amount, for the `value` of an element; empty if it is not known."""
    return "" if value is None else plain_usd(Decimal(value))


def count(value: int | None) -> str:
    """A whole number with thousands separators; `-` if it is not known."""
    return "-" if value is None else f"{value:,}"


def change(row: ReportRow) -> str:
    """How a cost differs from the period before, in percent; empty if that says nothing."""
    now, before = row.known_cost_usd, row.known_previous_cost_usd
    if now is None or not before:
        return ""
    return f"{_PERCENT * (now - before) / before:+,.0f}%"


def share(part: Decimal | int | None, whole: Decimal | int) -> float:
    """The width of a bar next to a figure, in percent of the whole."""
    return float(_PERCENT * part / whole) if part and whole else 0.0
