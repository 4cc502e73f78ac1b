"""Who spends most: users or organizations with their figures, compared with the time before."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from psycopg import sql

from tokenledger_exporter.db.dimensions import UTC, group, is_storable, narrowed, zone_of
from tokenledger_exporter.db.steps import Statement
from tokenledger_exporter.domain.coverage import coverage_of
from tokenledger_exporter.domain.preceding import preceding_period
from tokenledger_exporter.errors import InvalidRequestError
from tokenledger_exporter.rollups.source import source_of
from tokenledger_exporter.sql import fragment, statements

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from typing_extensions import LiteralString

    from tokenledger_exporter.db.dimensions import Where
    from tokenledger_exporter.db.steps import Steps
    from tokenledger_exporter.domain.coverage import Coverage

    Row = Mapping[str, Any]

_SQL: Final = statements("lists")
_QUERIES: Final = statements("queries")
_ZERO: Final = Decimal(0)

SPENDER_ORDERS: Final = {"cost": "cost_usd", "calls": "calls", "errors": "errors"}
"""Sort key -> column; highest first."""


@dataclass(frozen=True, slots=True)
class SpenderRequest:
    """Which values of a dimension to list.

    Args:
        dimension: user or organization; an index leads to the calls of one of its values.
        since: start, included.
        until: end, excluded.
        where: conditions on dimensions.
        search: only values that begin with it.
        order: a key of `SPENDER_ORDERS`.
        limit: maximum number of values.
        skipped: how many values come before this page.
        zone: time zone of months: a month is compared with the month before.
    """

    dimension: str
    since: datetime
    until: datetime
    where: Where
    search: str = ""
    order: str = "cost"
    limit: int = 50
    skipped: int = 0
    zone: str = UTC


@dataclass(frozen=True, slots=True)
class Spender:
    """One value and its figures.

    Args:
        name: the value; "" for calls that have none, and for the total.
        cost_usd: the known costs; see `known_cost_usd`.
        coverage: how many calls have which cost status.
        previous_cost_usd: its cost in the time before; `None` if it is not known.
        first_at: its first call of the period; `None` if that was not read.
        last_at: its last call of the period.
    """

    name: str
    cost_usd: Decimal
    calls: int
    errors: int
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    coverage: Coverage
    previous_cost_usd: Decimal | None = None
    first_at: datetime | None = None
    last_at: datetime | None = None

    @property
    def known_cost_usd(self) -> Decimal | None:
        """Its cost; `None` if it has calls and the cost of none is known."""
        return None if self.coverage.knows_no_cost else self.cost_usd


@dataclass(frozen=True, slots=True)
class SpenderPage:
    """Some values, highest first.

    Args:
        spenders: the values of this page.
        total: all values of the list.
        count: their number.
        compared_since: start of the preceding period.
        compared_until: its end.
    """

    spenders: Sequence[Spender]
    total: Spender
    count: int
    compared_since: datetime
    compared_until: datetime


def spender_page_steps(request: SpenderRequest) -> Steps[SpenderPage]:
    """The values of a dimension, compared with the preceding period.

    Raises:
        InvalidRequestError: a dimension is unknown, or the time before begins before the year 1.
    """
    before, end = preceding_period(request.since, request.until, zone_of(request.zone))
    if not is_storable(request.search):
        raise InvalidRequestError("invalid search: it has characters that no name has")
    values = {"search": request.search, "limit": request.limit, "skipped": request.skipped}
    rows: list[Row] = yield _statement("spenders", request, request.since, request.until, values)
    *page, total = rows
    names = [row["name"] for row in page]
    earlier = {}
    if names:
        statement = _statement("spenders_by_name", request, before, end, {"names": names})
        earlier = {row["name"]: row for row in (yield statement)}
    spenders = [_compared(_spender(row), earlier.get(row["name"])) for row in page]
    if names and not request.where:
        spenders = yield from _seen_steps(request, spenders)
    return SpenderPage(spenders, _spender(total), total["names"], before, end)


def _seen_steps(request: SpenderRequest, spenders: Sequence[Spender]) -> Steps[list[Spender]]:
    query = sql.SQL(_SQL["seen"]).format(column=group(request.dimension))
    names = [spender.name for spender in spenders]
    bounds = {"since": request.since, "until": request.until, "names": names}
    rows: list[Row] = yield Statement(query, bounds)
    seen = {row["name"]: row for row in rows}
    return [
        replace(each, first_at=seen[each.name]["first_at"], last_at=seen[each.name]["last_at"])
        for each in spenders
    ]


def _statement(
    name: LiteralString,
    request: SpenderRequest,
    since: datetime,
    until: datetime,
    values: Mapping[str, object],
) -> Statement:
    condition, conditions = narrowed(request.where)
    source = source_of({request.dimension, *request.where}, since, until)
    errors = "errors_of_sums" if source.is_rolled_up else "errors_of_rows"
    query = sql.SQL(_SQL[name]).format(
        column=group(request.dimension),
        order=sql.Identifier(SPENDER_ORDERS[request.order]),
        where=condition,
        errors=sql.SQL(fragment(_SQL[errors])),
        sums=sql.SQL(fragment(_QUERIES["figures_of_sums"])),
        states_of_sums=sql.SQL(fragment(_QUERIES["states_of_sums"])),
        **source.braces,
    )
    return Statement(query, {"since": since, "until": until, **conditions, **values})


def _spender(row: Row) -> Spender:
    return Spender(
        name=row["name"],
        cost_usd=row["cost_usd"],
        calls=row["calls"],
        errors=row["errors"],
        input_tokens=row["input_tokens"],
        output_tokens=row["output_tokens"],
        cached_tokens=row["cached_tokens"],
        coverage=coverage_of(row),
    )


def _compared(spender: Spender, before: Row | None) -> Spender:
    """With its cost in the time before, which is 0 if it had no calls."""
    if before is None:
        return replace(spender, previous_cost_usd=_ZERO)
    is_unknown = coverage_of(before).knows_no_cost
    return replace(spender, previous_cost_usd=None if is_unknown else before["cost_usd"])
