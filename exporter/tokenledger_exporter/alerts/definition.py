"""Reads what a person writes about an alert, and says it as a sentence."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Final

from tokenledger_exporter.alerts.alert import KINDS, PERIODS, SHARES, Alert
from tokenledger_exporter.alerts.targets import read_secret, read_targets
from tokenledger_exporter.db.dimensions import BUCKETS, filter_text, group, read_filters, zone_of
from tokenledger_exporter.errors import InvalidRequestError
from tokenledger_exporter.pricing.book import plain_usd
from tokenledger_semconv.dimensions import dimension_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


SMALLEST_UNUSUAL_USD: Final = Decimal(1)
"""An hour below this is not reported as unusual, unless an alert says otherwise."""

DEFAULT_PERIODS: Final = {"errors": "hour"}
"""Default periods of the kinds that do not count by day."""

_HUNDRED: Final = 100


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


def changed(  # noqa: PLR0913 - one keyword per option
    known: Alert | None,
    name: str,
    *,
    on: str | None,
    to: Sequence[str] | None,
    budget: str | None,
    where: Mapping[str, str | Sequence[str]] | None,
    by: str | None,
    above: str | Decimal | int | None,
    per: str | None,
    timezone: str | None,
    secret: str | None,
) -> Alert:
    """An alert with the options that are given; the others stay as they were, or are defaults.

    Args are those of `alerts.set_alert`; `known` is the alert of that name, `None` if it is new.

    Raises:
        InvalidRequestError: an option is invalid, or a new alert has no kind or target.
    """
    kind = known.kind if on is None and known else read_kind(on) if on is not None else ""
    if not kind or (known is None and not to):
        raise InvalidRequestError(
            f"alert {name!r} is new: it needs --on, such as --on spend, and --to"
        )
    before = known if known and known.kind == kind else _of_kind(name, kind, known)
    return check(
        replace(
            before,
            targets=before.targets if to is None else read_targets(to),
            secret=before.secret if secret is None else read_secret(secret),
            budget=before.budget if budget is None else budget,
            filters=before.filters if where is None else read_filters(where),
            by=before.by if by is None else read_by(by),
            threshold=before.threshold if above is None else read_threshold(kind, above),
            period=per or before.period,
            timezone=timezone or before.timezone,
        )
    )


def _of_kind(name: str, kind: str, replaced: Alert | None) -> Alert:
    """A new alert with the defaults of its kind, and the targets of the one that it replaces."""
    return Alert(
        name=name,
        kind=kind,
        targets=replaced.targets if replaced else (),
        secret=replaced.secret if replaced else "",
        timezone=replaced.timezone if replaced else "UTC",
        period=DEFAULT_PERIODS.get(kind, "day"),
        threshold=SMALLEST_UNUSUAL_USD if kind == "unusual" else None,
    )


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
