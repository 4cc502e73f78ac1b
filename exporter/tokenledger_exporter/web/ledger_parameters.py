"""Parameters that pages and endpoints share: a period, filters, a report."""

from __future__ import annotations

from typing import Final

from tokenledger_exporter.db.dimensions import UTC
from tokenledger_exporter.web.parameters import Parameter

MAX_GROUPS: Final = 10_000
"""The most groups of one answer."""


def period_parameters(since: str) -> tuple[Parameter, ...]:
    """Period, time zone and filters.

    Args:
        since: the default start.
    """
    return (
        Parameter("since", "Start: 7d, 24h, today, 2026-11-01 ...", default=since),
        Parameter("until", "End, in the same forms; a named day is included.", default="now"),
        Parameter("month", "A whole month instead: 2026-10, last or this."),
        Parameter("timezone", "Time zone of hours, days and months.", default=UTC),
        Parameter(
            "where",
            "Filter DIMENSION=VALUE; repeatable. Values of one dimension are alternatives.",
            "array",
        ),
    )


DETAIL: Final = Parameter(
    "detail",
    "Read every call, which splits the cost per token into output share, cache share, service tier "
    "and price; without it, that is done for at most 100,000 calls.",
    "boolean",
)
"""The parameter that chooses how closely a change is looked at."""

PAGE: Final = Parameter("page", "Number of the page.", "integer", default=1, maximum=100_000)
"""The parameter that turns pages."""


def limit_parameter(default: int, maximum: int) -> Parameter:
    """How many entries an answer may have."""
    return Parameter("limit", "Maximum number of entries.", "integer", default, maximum=maximum)


def report_parameters(since: str, limit: int) -> tuple[Parameter, ...]:
    """The parameters of a report.

    Args:
        since: the default start.
        limit: the default number of groups.
    """
    return (
        Parameter("by", "Dimensions, comma-separated; empty is the total.", default="model"),
        *period_parameters(since),
        Parameter("sort", "cost, calls, tokens or a dimension of `by`."),
        limit_parameter(limit, MAX_GROUPS),
        Parameter(
            "compare",
            "Compare with the preceding period: of a month, the month before.",
            "boolean",
            default=False,
        ),
    )
