"""Reads what a person writes about a budget, and says it as a sentence."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Final

from tokenledger_exporter.db.dimensions import BUCKETS, dimension_names, zone_of
from tokenledger_exporter.domain.budget import ACTIONS, ON_OUTAGE, TRACE, UNPRICED
from tokenledger_exporter.errors import InvalidRequestError
from tokenledger_exporter.pricing.book import plain_usd
from tokenledger_semconv.dimensions import METADATA_DIMENSION_PREFIX, dimension_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tokenledger_exporter.domain.budget import Budget

PER: Final = ("hour", "day", "week", "month", "30d", "total", "run", "session", "trace")
"""Examples of periods; any number of days may be written as `30d`."""

_PERIODS: Final = frozenset({"hour", "day", "week", "month", "total"})
# One limit per value, without end.
_PER_VALUE: Final = {"run": TRACE, "trace": TRACE, "session": "session"}
_ROLLING: Final = re.compile(r"([1-9][0-9]{0,2})d", re.ASCII)
_MAX_DAYS: Final = 366
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", re.ASCII)
_MAX_PERCENT: Final = 1000


def read_name(name: str) -> str:
    """A budget's name.

    Raises:
        InvalidRequestError: it is not one.
    """
    if not _NAME.fullmatch(name):
        raise InvalidRequestError(
            f"invalid budget name {name!r}: use up to 63 letters, digits, dots, dashes and "
            "underscores, and start with a letter or digit"
        )
    return name


def read_limit(limit: str | Decimal | int) -> Decimal:
    """A limit in US dollars.

    Raises:
        InvalidRequestError: it is not a finite number above 0.
    """
    try:
        usd = Decimal(limit)
    except (InvalidOperation, TypeError, ValueError):
        usd = Decimal("NaN")
    if isinstance(limit, (float, bool)) or not usd.is_finite() or usd <= 0:
        raise InvalidRequestError(
            f"invalid limit {str(limit)!r}: use US dollars above 0, such as 500 or 0.50"
        )
    return usd


def read_period(per: str) -> tuple[str, int | None, str]:
    """A period as period, days and the dimension that it implies.

    Raises:
        InvalidRequestError: it is unknown.
    """
    if per in _PERIODS:
        return per, None, ""
    if per in _PER_VALUE:
        return "total", None, _PER_VALUE[per]
    if (match := _ROLLING.fullmatch(per)) and int(match[1]) <= _MAX_DAYS:
        return "rolling", int(match[1]), ""
    raise InvalidRequestError(
        f"unknown period {per!r}; use one of {', '.join(PER)}, with up to {_MAX_DAYS} days"
    )


def read_warnings(text: str | Sequence[int]) -> tuple[int, ...]:
    """Percentages of the limit, in order.

    Raises:
        InvalidRequestError: one is not a whole number from 1 to 1,000.
    """
    parts = [part.strip() for part in text.split(",")] if isinstance(text, str) else list(text)
    percents: set[int] = set()
    for part in parts:
        if part == "":
            continue
        digits = str(part).removesuffix("%")
        if not (digits.isascii() and digits.isdigit() and 0 < int(digits) <= _MAX_PERCENT):
            raise InvalidRequestError(
                f"invalid warning {str(part)!r}: use percentages from 1 to {_MAX_PERCENT}, "
                "such as 50,80,100"
            )
        percents.add(int(digits))
    return tuple(sorted(percents))


def read_filters(where: Mapping[str, str | Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """Filters by the names of their dimensions.

    Raises:
        InvalidRequestError: a dimension is unknown, or has no value.
    """
    filters: dict[str, tuple[str, ...]] = {}
    for spelling, values in where.items():
        name = _dimension(spelling)
        if name == TRACE:
            raise InvalidRequestError("a budget cannot filter by trace; use --per run")
        filters[name] = (values,) if isinstance(values, str) else tuple(values)
        if not filters[name]:
            raise InvalidRequestError(f"the filter {name!r} has no value")
    return filters


def read_each(each: str) -> str:
    """The dimension that has one limit per value; "" for none.

    Raises:
        InvalidRequestError: it is unknown.
    """
    return _dimension(each) if each else ""


def check(budget: Budget) -> Budget:
    """Check what has a fixed list of values.

    Raises:
        InvalidRequestError: a value is unknown.
    """
    for option, value, allowed in (
        ("action", budget.action, ACTIONS),
        ("unpriced", budget.unpriced, UNPRICED),
        ("on-outage", budget.on_outage, ON_OUTAGE),
    ):
        if value not in allowed:
            raise InvalidRequestError(
                f"unknown {option} {value!r}; use one of {', '.join(allowed)}"
            )
    zone_of(budget.timezone)
    return budget


def period_text(budget: Budget) -> str:
    """The period as people say it: `per month`, `in 30 days`, `per trace`."""
    if budget.period == "total":
        return f"per {budget.each}" if budget.each else "in total"
    name = f"{budget.days} days" if budget.period == "rolling" else budget.period
    text = f"in {name}" if budget.period == "rolling" else f"per {name}"
    return f"{text} and {budget.each}" if budget.each else text


def filter_text(budget: Budget) -> str:
    """The filters as on the command line; "all calls" without any."""
    parts = [f"{name}={value}" for name, values in budget.filters.items() for value in values]
    return " ".join(parts) or "all calls"


def sentence(budget: Budget) -> str:
    """A budget in one line."""
    zone = "" if budget.timezone == "UTC" or budget.period == "total" else f" ({budget.timezone})"
    effect = {"block": "refuses calls at the limit", "alert": "only reports"}[budget.action]
    warnings = ", ".join(f"{percent}%" for percent in budget.warn_percents)
    return (
        f"{budget.name}: ${plain_usd(budget.limit_usd)} {period_text(budget)}{zone}, "
        f"{filter_text(budget)}; {effect}"
        + (f"; warns at {warnings}" if warnings else "")
        + ("; paused" if budget.is_paused else "")
    )


def _dimension(spelling: str) -> str:
    name = dimension_name(spelling)
    known = [each for each in dimension_names() if each not in BUCKETS]
    key = name.removeprefix(METADATA_DIMENSION_PREFIX)
    if name in known or name == TRACE or (key != name and key):
        return name
    raise InvalidRequestError(f"unknown dimension {spelling!r}; use one of {', '.join(known)}")
