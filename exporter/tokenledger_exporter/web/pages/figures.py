"""Figures for people: few digits on the page, all of them in the element's `value`."""

from __future__ import annotations

from decimal import Context, Decimal
from typing import TYPE_CHECKING, Final, NamedTuple

from tokenledger_exporter.pricing.book import plain_usd

if TYPE_CHECKING:
    from tokenledger_exporter.domain.coverage import Coverage
    from tokenledger_exporter.queries.report import ReportRow

_CENT, _THOUSAND = Decimal("0.01"), Decimal(1_000)
_SMALLEST: Final = Decimal("0.000001")
_PERCENT: Final = 100
_SECOND_MS: Final = 1_000
_PRICE_DIGITS: Final = 9
_THREE_DIGITS: Final = Context(prec=3)
_UNITS: Final = ("", "k", "M", "B")
_STATES: Final = ("priced", "reported", "partial", "estimated", "unpriced", "unmeasured")
_NARROWEST: Final = 0.6


def money(value: Decimal | str | None) -> str:
    """An amount: few digits, more for a small one; `unknown` if it is not known."""
    if value is None:
        return "unknown"
    usd = Decimal(value)
    sign, size = "-" if usd < 0 else "", abs(usd)
    if size >= _THOUSAND or not size:
        return f"{sign}${size:,.2f}"
    if size < _SMALLEST:
        return f"{sign}<${_SMALLEST}"
    return f"{sign}${size:,.4f}" if size >= _CENT else f"{sign}${size:,.6f}"


def cents(value: Decimal) -> str:
    """An amount that is no exact figure, such as a projection, to a cent."""
    return f"${value:,.2f}"


def exact(value: Decimal | str | None) -> str:
    """All digits of an amount, for the `value` of an element; empty if it is not known."""
    return "" if value is None else plain_usd(Decimal(value))


def price(usd: Decimal | str) -> str:
    """A price, without the digits that a list computed with floats leaves behind."""
    return f"${plain_usd(round(Decimal(usd), _PRICE_DIGITS))}"


def count(value: int | None) -> str:
    """A whole number with thousands separators; `-` if it is not known."""
    return "-" if value is None else f"{value:,}"


def compact(value: int) -> str:
    """A count of three digits, in thousands, millions or billions."""
    rounded = _THREE_DIGITS.create_decimal(value)
    power = max(0, min(rounded.adjusted() // 3, len(_UNITS) - 1))
    return f"{rounded.scaleb(-3 * power).normalize():,f}{_UNITS[power]}"


def figure(value: Decimal | float | None, name: str) -> str:
    """A figure of a measure, by the ending of its name; `-` if nothing was measured.

    Args:
        value: milliseconds, a rate of 0 to 1, US dollars or a count.
        name: `..._ms`, `..._rate`, `..._usd`, or anything else for a count.
    """
    if value is None:
        return "-"
    if name.endswith("_ms"):
        return f"{value:,.0f} ms" if value < _SECOND_MS else f"{float(value) / 1_000:,.2f} s"
    if name.endswith("_rate"):
        return f"{value:.1%}"
    return money(Decimal(value)) if name.endswith("_usd") else f"{value:,}"


def title_of(name: str) -> str:
    """The title of a figure's column: `hit_rate` is `Hit rate`, `p50_ms` is `p50`."""
    words = name.removesuffix("_ms").removesuffix("_usd").replace("_", " ")
    return words if words[1:].isdigit() else words.capitalize()


def plain(value: Decimal | float | None) -> str:
    """All digits of a figure; empty if nothing was measured."""
    return "" if value is None else exact(value) if isinstance(value, Decimal) else repr(value)


def change(row: ReportRow) -> str:
    """How a cost differs from the period before, in percent; empty if that says nothing."""
    return percent_change(row.known_cost_usd, row.known_previous_cost_usd)


def percent_change(now: Decimal | None, before: Decimal | None) -> str:
    """How an amount differs from an earlier one, in percent; empty if that says nothing."""
    if now is None or not before:
        return ""
    return f"{_PERCENT * (now - before) / before:+,.0f}%"


def share(part: Decimal | int | None, whole: Decimal | int) -> float:
    """The width of a bar next to a figure, in percent of the whole."""
    return float(_PERCENT * part / whole) if part and whole else 0.0


class Segment(NamedTuple):
    """One state in a bar of all calls: its place and width in percent."""

    state: str
    calls: int
    x: float
    width: float


def segments(coverage: Coverage) -> list[Segment]:
    """The states of calls as parts of one bar; a rare state stays wide enough to be seen."""
    counts = [(state, getattr(coverage, state)) for state in _STATES if getattr(coverage, state)]
    widths = [max(share(calls, coverage.calls), _NARROWEST) for _, calls in counts]
    scale = _PERCENT / sum(widths) if widths else 0.0
    bar: list[Segment] = []
    x = 0.0
    for (state, calls), width in zip(counts, widths, strict=True):
        bar.append(Segment(state, calls, round(x, 2), round(width * scale, 2)))
        x += width * scale
    return bar
