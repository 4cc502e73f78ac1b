"""Reads what a person writes about a budget, and says it as a sentence."""

from __future__ import annotations

import re
from dataclasses import replace
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Final

from tokenledger_exporter.db.dimensions import (
    BUCKETS,
    dimension_names,
    filter_text,
    read_filters,
    zone_of,
)
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
_MAX_PERCENT: Final = 1000


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


def read_each(each: str) -> str:
    """The dimension that has one limit per value; "" for none.

    Raises:
        InvalidRequestError: it is unknown.
    """
    return _dimension(each) if each else ""


def changed(  # noqa: PLR0913 - one keyword per option
    before: Budget,
    *,
    limit: Decimal | None,
    where: Mapping[str, str | Sequence[str]] | None,
    each: str | None,
    per: str | None,
    timezone: str | None,
    action: str | None,
    warn: str | Sequence[int] | None,
    unpriced: str | None,
    on_outage: str | None,
) -> Budget:
    """A budget with the options that are given; the others stay as they were.

    Args are those of `budgets.set_budget`.

    Raises:
        InvalidRequestError: an option is invalid, or two contradict each other.
    """
    period, days, after_each = _period_and_each(before, each, per)
    return check(
        replace(
            before,
            limit_usd=limit or before.limit_usd,
            filters=before.filters if where is None else _filters(where),
            each=after_each,
            period=period,
            days=days,
            timezone=timezone or before.timezone,
            action=action or before.action,
            warn_percents=before.warn_percents if warn is None else read_warnings(warn),
            unpriced=unpriced or before.unpriced,
            on_outage=on_outage or before.on_outage,
        )
    )


def _period_and_each(
    before: Budget, each: str | None, per: str | None
) -> tuple[str, int | None, str]:
    after_each = before.each if each is None else read_each(each)
    if per is None:
        return before.period, before.days, after_each
    period, days, implied = read_period(per)
    if implied and each and after_each != implied:
        raise InvalidRequestError(f"--per {per} has one limit per {implied}; omit --each")
    if not implied and each is None and after_each == TRACE:
        # It came from --per run.
        after_each = ""
    return period, days, implied or after_each


def _filters(where: Mapping[str, str | Sequence[str]]) -> dict[str, tuple[str, ...]]:
    if TRACE in where:
        raise InvalidRequestError("a budget cannot filter by trace; use --per run")
    return read_filters(where)


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


def sentence(budget: Budget) -> str:
    """A budget in one line."""
    zone = "" if budget.timezone == "UTC" or budget.period == "total" else f" ({budget.timezone})"
    effect = {"block": "refuses calls at the limit", "alert": "only reports"}[budget.action]
    warnings = ", ".join(f"{percent}%" for percent in budget.warn_percents)
    return (
        f"{budget.name}: ${plain_usd(budget.limit_usd)} {period_text(budget)}{zone}, "
        f"{filter_text(budget.filters)}; {effect}"
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
