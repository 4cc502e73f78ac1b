"""Reads what a person writes about an alert, and says it as a sentence."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Final

from tokenledger_exporter.alerts.alert import KINDS, PERIODS, SHARES
from tokenledger_exporter.alerts.targets import read_secret, read_targets
from tokenledger_exporter.db.dimensions import BUCKETS, group, narrowed, plain_where, zone_of
from tokenledger_exporter.errors import InvalidRequestError
from tokenledger_exporter.pricing.book import plain_usd
from tokenledger_semconv.dimensions import dimension_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tokenledger_exporter.alerts.alert import Alert

SMALLEST_UNUSUAL_USD: Final = Decimal(1)
"""An hour below this is not reported as unusual, unless an alert says otherwise."""

DEFAULT_PERIODS: Final = {"errors": "hour"}
"""Default periods of the kinds that do not count by day."""

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", re.ASCII)
_HUNDRED: Final = 100


def read_name(name: str) -> str:
    """An alert's name.

    Raises:
        InvalidRequestError: it is not one.
    """
    if not _NAME.fullmatch(name):
        raise InvalidRequestError(
            f"invalid alert name {name!r}: use up to 63 letters, digits, dots, dashes and "
            "underscores, and start with a letter or digit"
        )
    return name


def read_kind(kind: str) -> str:
    """What an alert watches.

    Raises:
        InvalidRequestError: it is unknown.
    """
    if kind not in KINDS:
        raise InvalidRequestError(f"unknown kind of alert {kind!r}; use one of {', '.join(KINDS)}")
    return kind


def read_threshold(kind: str, above: str | Decimal | int) -> Decimal:
    """A threshold: US dollars, or a percentage of the calls.

    Raises:
        InvalidRequestError: it is not a finite number above 0, or a percentage from 100 on.
    """
    is_share = kind in SHARES
    try:
        number = Decimal(
            above.strip().removesuffix("%" if is_share else "") if isinstance(above, str) else above
        )
    except (InvalidOperation, TypeError, ValueError):
        number = Decimal("NaN")
    is_valid = not isinstance(above, (float, bool)) and number.is_finite() and number > 0
    if not is_valid or (is_share and number >= _HUNDRED):
        example = "percentages below 100, such as 5%" if is_share else "US dollars, such as 100"
        raise InvalidRequestError(f"invalid threshold {str(above)!r}: use {example}")
    return number


def read_filters(where: Mapping[str, str | Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """Filters by the names of their dimensions.

    Raises:
        InvalidRequestError: a dimension is unknown, or has no value.
    """
    narrowed(where)
    filters = {dimension_name(name): values for name, values in plain_where(where).items()}
    for name, values in filters.items():
        if not values:
            raise InvalidRequestError(f"the filter {name!r} has no value")
    return filters


def read_by(by: str) -> str:
    """The dimension whose values are watched one by one; "" for none.

    Raises:
        InvalidRequestError: it is unknown.
    """
    if not by:
        return ""
    group(by)
    if (name := dimension_name(by)) in BUCKETS:
        raise InvalidRequestError(f"an alert cannot watch every {name}: use --per {name}")
    return name


def check(alert: Alert) -> Alert:
    """Check an alert as a whole.

    Raises:
        InvalidRequestError: a part is missing, superfluous or unknown.
    """
    read_kind(alert.kind)
    read_targets(alert.targets)
    read_secret(alert.secret)
    zone_of(alert.timezone)
    if alert.period not in PERIODS:
        raise InvalidRequestError(
            f"unknown period {alert.period!r}; use one of {', '.join(PERIODS)}"
        )
    if alert.kind == "budget":
        if not alert.budget:
            raise InvalidRequestError("an alert on a budget needs --budget NAME")
        if alert.filters or alert.by or alert.threshold is not None:
            raise InvalidRequestError(
                "an alert on a budget has the filters and thresholds of the budget: omit --where, "
                "--by and --above, and use 'tokenledger budget set NAME --warn 50,80,100'"
            )
    elif alert.budget:
        raise InvalidRequestError(f"an alert on {alert.kind} has no budget: omit --budget")
    elif alert.threshold is None:
        example = "5%" if alert.kind in SHARES else "100"
        raise InvalidRequestError(f"an alert on {alert.kind} needs --above, such as {example}")
    return alert


def filter_text(filters: Mapping[str, Sequence[str]]) -> str:
    """Filters as on the command line; "all calls" without any."""
    return " ".join(f"{name}={value}" for name, values in filters.items() for value in values) or (
        "all calls"
    )


def what_text(alert: Alert) -> str:
    """What an alert watches."""
    each = f", by {alert.by}" if alert.by else ""
    if alert.kind == "budget":
        return f"thresholds of budget {alert.budget}"
    if alert.threshold is None:
        return alert.kind
    if alert.kind in SHARES:
        what = f"{alert.kind} above {plain_usd(alert.threshold)}% of the calls per {alert.period}"
    elif alert.kind == "spend":
        what = f"spend above ${plain_usd(alert.threshold)} per {alert.period}"
    else:
        what = f"unusual spend of an hour, from ${plain_usd(alert.threshold)} on"
    return f"{what}{each}, {filter_text(alert.filters)}"


def sentence(alert: Alert) -> str:
    """An alert in one line; targets are references and hold no secret."""
    zone = "" if alert.timezone == "UTC" or alert.kind == "budget" else f" ({alert.timezone})"
    paused = "; paused" if alert.is_paused else ""
    return f"{alert.name}: {what_text(alert)}{zone}; to {', '.join(alert.targets)}{paused}"
