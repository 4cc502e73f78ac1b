"""The list of users or organizations that pages and endpoints share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tokenledger_exporter.db.steps import run_steps
from tokenledger_exporter.queries.lists.spenders import (
    SPENDER_ORDERS,
    SpenderRequest,
    spender_page_steps,
)
from tokenledger_exporter.web.ledger_parameters import PAGE, limit_parameter
from tokenledger_exporter.web.parameters import Parameter
from tokenledger_exporter.web.request_values import checked, conditions, period

if TYPE_CHECKING:
    from collections.abc import Mapping

    import psycopg

    from tokenledger_exporter.queries.lists.spenders import Spender, SpenderPage

_MAX_SPENDERS: Final = 1_000

SPENDER_PARAMETERS: Final = (
    Parameter("search", "Only names that begin with this text.", default=""),
    Parameter("sort", "Highest first.", default="cost", choices=tuple(SPENDER_ORDERS)),
    limit_parameter(50, _MAX_SPENDERS),
    PAGE,
)
"""The parameters of a list, in addition to period and filters."""

SPENDER_COLUMNS: Final = (
    *("name", "cost_usd", "previous_cost_usd", "calls", "errors", "input_tokens"),
    *("output_tokens", "cached_tokens", "without_cost", "not_settled", "first_at", "last_at"),
)
"""The columns of `spender_row`."""


def read_spenders(
    connection: psycopg.Connection[Any], dimension: str, values: Mapping[str, Any]
) -> SpenderPage:
    """The values of a dimension that the parameters name.

    Raises:
        ParameterError: a time, a filter or the search is invalid.
    """
    since, until = period(dict(values))
    request = SpenderRequest(
        dimension,
        since,
        until,
        conditions(values["where"]),
        search=values["search"],
        order=values["sort"],
        limit=values["limit"],
        skipped=values["limit"] * (values["page"] - 1),
        zone=values["timezone"],
    )
    page: SpenderPage = checked(
        "search", lambda each: run_steps(connection, spender_page_steps(each)), request
    )
    return page


def spender_row(spender: Spender) -> dict[str, Any]:
    """A value of a list as flat values; a cost that is not known is `None`."""
    return {
        "name": spender.name,
        "cost_usd": spender.known_cost_usd,
        "previous_cost_usd": spender.previous_cost_usd,
        "calls": spender.calls,
        "errors": spender.errors,
        "input_tokens": spender.input_tokens,
        "output_tokens": spender.output_tokens,
        "cached_tokens": spender.cached_tokens,
        "without_cost": spender.coverage.without_cost,
        "not_settled": spender.coverage.not_settled,
        "first_at": spender.first_at,
        "last_at": spender.last_at,
    }
