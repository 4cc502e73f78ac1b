"""An alert, and what it found."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from decimal import Decimal

KINDS: Final = ("budget", "spend", "errors", "unpriced", "unusual")
"""What an alert watches.

`budget`: the thresholds of a budget. `spend`: the cost per period. `errors` and `unpriced`: their
share of the calls of a period. `unusual`: the cost of an hour against past weeks.
"""

SHARES: Final = frozenset({"errors", "unpriced"})
"""The kinds whose threshold is a percentage of the calls."""

PERIODS: Final = ("hour", "day", "week", "month")
"""How often a `spend`, `errors` or `unpriced` alert may fire."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One row of `token_ledger_alerts`.

    Args:
        name: its name: letters, digits, dots, dashes and underscores.
        kind: one of `KINDS`.
        targets: where messages go: `env:NAME`, `file:/path` or `webhook+https://host/path`.
        budget: for `budget`, the budget's name.
        filters: dimension -> values; a call counts if each dimension has one of its values.
        by: dimension whose values are watched one by one; "" for all calls together.
        threshold: US dollars for `spend` and `unusual`, percent for `errors` and `unpriced`;
            `None` for `budget`.
        period: one of `PERIODS`.
        timezone: IANA name of the time zone in which periods start.
        secret: reference of the key that signs webhooks; "" is `env:TOKENLEDGER_WEBHOOK_SECRET`.
        is_paused: whether it is not checked.
        alert_id: its id in the database; 0 before it is stored.
    """

    name: str
    kind: str
    targets: tuple[str, ...]
    budget: str = ""
    filters: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, "tuple[str, ...]"])
    by: str = ""
    threshold: Decimal | None = None
    period: str = "day"
    timezone: str = "UTC"
    secret: str = ""
    is_paused: bool = False
    alert_id: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something over a threshold: the alert fires, unless it has for this period.

    Args:
        value: value of the dimension that is watched; "" without one.
        period_starts_at: start of the period.
        threshold: what was reached, in US dollars or percent.
        observed: what was measured, in US dollars or percent.
        facts: what the message says: texts, numbers as text, and mappings of them.
        goes_on: whether an open incident of an earlier period is the same.
    """

    value: str
    period_starts_at: datetime
    threshold: Decimal
    observed: Decimal
    facts: Mapping[str, Any]
    goes_on: bool = False


def alert_of(row: Mapping[str, Any]) -> Alert:
    """An alert from its row."""
    return Alert(
        alert_id=row["alert_id"],
        name=row["name"],
        kind=row["kind"],
        targets=tuple(row["targets"]),
        budget=row["budget"],
        filters={name: tuple(values) for name, values in sorted(row["filters"].items())},
        by=row["by_dimension"],
        threshold=row["threshold"],
        period=row["period"],
        timezone=row["timezone"],
        secret=row["secret"],
        is_paused=row["is_paused"],
    )
