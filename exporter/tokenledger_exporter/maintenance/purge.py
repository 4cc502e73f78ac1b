"""Deletes the calls of a project, user, organization or any other dimension, and counts them.

Their duplicates, conflicts, quarantined rows and cost history are deleted too. Roll-ups follow the
rows. Months that retention dropped have no rows; their sums are deleted on request. Everything
happens in one transaction, under the lock that deduplication takes. A simulation counts by the same
conditions.
"""

from __future__ import annotations

import asyncio
from dataclasses import asdict, dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from psycopg import sql
from psycopg.rows import dict_row

from tokenledger_exporter.db.audit_log import log_action
from tokenledger_exporter.db.connection import reading, session
from tokenledger_exporter.db.dimensions import by_name, is_storable, narrowed, narrowed_event
from tokenledger_exporter.domain.time_range import BEGINNING, END, with_zone
from tokenledger_exporter.errors import InvalidRequestError
from tokenledger_exporter.rollups import refresh
from tokenledger_exporter.rollups.columns import NOT_SPLIT_BY_MODEL, SUM_EXPRESSIONS, listed
from tokenledger_exporter.sql import statements
from tokenledger_exporter.store import duplicates
from tokenledger_semconv.dimensions import ROLLUP_DIMENSIONS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    import psycopg

    from tokenledger_exporter.db.dimensions import Where

_SQL: Final = statements("purge")
_ROLLUPS: Final = statements("rollups_refresh")

# Rows of other tables come first, because they are found through the events.
_TABLES: Final = ("duplicates", "conflicts", "rejected", "repricings", "events")

# Columns of every roll-up except the one by user.
_COLUMNS_OF_EVERY_SUM: Final = ("provider", "model")

# Dimensions whose values may be logged, because they are not people.
_NON_PERSONAL_DIMENSIONS: Final = frozenset(
    {"project", "organization", "provider", "model", "operation", "app"}
)


@dataclass(frozen=True, slots=True)
class Purged:
    """What a purge deleted, or would delete, in rows.

    Args:
        events: calls.
        duplicates: duplicate reports of calls.
        conflicts: reports with a call's id and other content.
        rejected: quarantined rows.
        repricings: entries of the calls' cost history.
        cost_usd: known cost of the calls, US dollars.
        aggregates: hourly sums of months that retention dropped.
        simulated: whether it was a simulation.
    """

    events: int = 0
    duplicates: int = 0
    conflicts: int = 0
    rejected: int = 0
    repricings: int = 0
    cost_usd: Decimal = Decimal(0)
    aggregates: int = 0
    simulated: bool = False

    @property
    def events_deleted(self) -> int:
        """The calls, by their name in Token Usage Metrics."""
        return self.events

    @property
    def aggregates_deleted(self) -> int:
        """The sums of dropped months, by their name in Token Usage Metrics."""
        return self.aggregates


def purge(  # noqa: PLR0913 - one argument per filter
    database_url: str,
    *,
    project: str | None = None,
    user: str | None = None,
    organization: str | None = None,
    time_from: datetime | None = None,
    time_to: datetime | None = None,
    where: Where | None = None,
    simulate: bool = False,
    include_aggregates: bool = True,
) -> Purged:
    """Delete the calls that match all conditions.

    Args:
        database_url: the ledger, as a user who may delete from it.
        project: calls of this project.
        user: calls of this user.
        organization: calls of this organization.
        time_from: start, included; UTC if it has no zone.
        time_to: end, excluded.
        where: conditions on other dimensions.
        simulate: count and change nothing.
        include_aggregates: also delete the sums of months whose rows retention dropped, by the
            dimension of the condition. Sums by other dimensions stay, because they cannot be split
            any more; so do all sums if there are conditions on two dimensions other than provider
            and model. Roll-ups of existing rows always follow the rows.

    Raises:
        InvalidRequestError: there is no condition, its value is empty, or the dimension is unknown.
        LedgerError: the database reported an error; nothing was deleted.
    """
    filters = _merge_filters(
        where, {"project": project, "user": user, "organization": organization}
    )
    bounds = (
        time_from and with_zone(time_from),
        time_to and with_zone(time_to),
    )
    with (reading if simulate else session)(database_url) as connection, connection.transaction():
        if not simulate:
            duplicates.lock(connection)
            refresh.lock(connection)
        verb = "count" if simulate else "delete"
        purged = _run(connection, verb, filters, bounds)
        if include_aggregates:
            purged = replace(purged, aggregates=_final_sums(connection, verb, filters, bounds))
        if not simulate:
            log_action(connection, "purge", asdict(purged), _without_people(filters), bounds)
    if not simulate:
        _refresh_sums(database_url)
    return purged


def _merge_filters(where: Where | None, named: Mapping[str, str | None]) -> Where:
    """All conditions; raises if there is none or one has an empty value."""
    filters = {
        **by_name(where),
        **{name: value for name, value in named.items() if value is not None},
    }
    if not filters:
        raise InvalidRequestError(
            "no filter; give a project, a user, an organization or another dimension (a period "
            "alone is not enough)"
        )
    if empty := [name for name, value in filters.items() if _is_empty(value)]:
        raise InvalidRequestError(
            f"the value of {', '.join(empty)} is empty (is a shell variable unset?)"
        )
    return filters


def _without_people(filters: Where) -> dict[str, object]:
    """The conditions as they may be logged: a value that can be a person is left out."""
    return {
        name: value if name in _NON_PERSONAL_DIMENSIONS else "" for name, value in filters.items()
    }


async def apurge(  # noqa: PLR0913 - the arguments of `purge`
    database_url: str,
    *,
    project: str | None = None,
    user: str | None = None,
    organization: str | None = None,
    time_from: datetime | None = None,
    time_to: datetime | None = None,
    where: Where | None = None,
    simulate: bool = False,
    include_aggregates: bool = True,
) -> Purged:
    """Async version of `purge`; runs in a thread."""
    return await asyncio.to_thread(
        purge,
        database_url,
        project=project,
        user=user,
        organization=organization,
        time_from=time_from,
        time_to=time_to,
        where=where,
        simulate=simulate,
        include_aggregates=include_aggregates,
    )


def _run(
    connection: psycopg.Connection[Any],
    verb: str,
    where: Where,
    bounds: tuple[datetime | None, datetime | None],
) -> Purged:
    conditions, values = narrowed(where)
    event_conditions, _ = narrowed_event(where)
    pieces = {
        "events": sql.SQL(_SQL["events_condition"]).format(where=conditions),
        "event": sql.SQL(_SQL["event_condition"]).format(where=event_conditions),
    }
    since, until = bounds
    values |= {
        "since": since or BEGINNING,
        "until": until or END,
        "all_time": since is None and until is None,
    }
    counts: dict[str, Any] = {}
    with connection.cursor(row_factory=dict_row) as cursor:
        for table in _TABLES:
            statement = sql.SQL(_SQL[f"{verb}_{table}"]).format(**pieces)
            row = cursor.execute(statement, values).fetchone() or {}
            counts[table] = row["rows"]
            if table == "events":
                counts["cost_usd"] = row["cost_usd"]
    return Purged(**counts, simulated=verb == "count")


def _final_sums(
    connection: psycopg.Connection[Any],
    verb: str,
    where: Where,
    bounds: tuple[datetime | None, datetime | None],
) -> int:
    """Count or delete sums of dropped months that contain only these calls."""
    by_dimension = {known.name for known in ROLLUP_DIMENSIONS}
    named = [name for name in where if name not in _COLUMNS_OF_EVERY_SUM]
    mixed = set(named) & NOT_SPLIT_BY_MODEL and len(named) < len(where)
    if len(named) > 1 or not by_dimension.issuperset(named) or mixed:
        return 0
    conditions: list[sql.Composable] = [
        sql.SQL("AND hours.dimension = {}").format(sql.Literal(name)) for name in named
    ]
    values: dict[str, object] = {"since": bounds[0] or BEGINNING, "until": bounds[1] or END}
    for name, filters in where.items():
        column = sql.Identifier("hours", name if name in _COLUMNS_OF_EVERY_SUM else "value")
        conditions.append(sql.SQL("AND {} = ANY({})").format(column, sql.Placeholder(name)))
        texts = [filters] if isinstance(filters, str) else filters
        values[name] = [value for value in texts if is_storable(value)]
    statement = _ROLLUPS["count_final_sums" if verb == "count" else "delete_final_sums"]
    query = sql.SQL(statement).format(
        where=sql.SQL(" ").join(conditions),
        named_sums=sql.SQL(SUM_EXPRESSIONS["named_sums"]),
        subtracted=sql.SQL(listed("{name} = stored.{name} OPERATOR(pg_catalog.-) removed.{name}")),
    )
    [(rows,)] = connection.execute(query, values).fetchall()
    if rows and verb == "delete":
        connection.execute(_ROLLUPS["delete_empty_days"])
    return int(rows)


def _is_empty(value: str | Sequence[str]) -> bool:
    """Whether a value, or one of several, is empty, which never means calls without a value."""
    return not value or "" in ((value,) if isinstance(value, str) else value)


def _refresh_sums(database_url: str) -> None:
    """Refresh the roll-ups if this user may; otherwise the next maintenance does."""
    with session(database_url) as connection:
        may = refresh.may_refresh(connection)
        connection.rollback()
        if may:
            refresh.refresh(connection, build=False)
