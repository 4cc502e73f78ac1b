"""Deletes the calls of a project, user, organization or any other dimension, and says what went.

Rows kept aside go with them: second tellings, conflicts, rejected rows, and the history of their
costs. Roll-ups follow the rows; of months that retention let go there are none, and sums of them go
where that is asked for. One transaction, under the lock that settling rows takes. A simulation
counts by the very conditions the deletion uses.
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
from tokenledger_exporter.db.dimensions import is_storable, narrowed, narrowed_event
from tokenledger_exporter.domain.time_range import BEGINNING, END, with_zone
from tokenledger_exporter.errors import InvalidRequestError
from tokenledger_exporter.rollups import refresh
from tokenledger_exporter.rollups.columns import SUMMED, UNDIVIDED, listed
from tokenledger_exporter.sql import statements
from tokenledger_exporter.store import duplicates as twins
from tokenledger_semconv.dimensions import ROLLED_UP

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    import psycopg

    from tokenledger_exporter.db.dimensions import Where

_SQL: Final = statements("purge")
_ROLLUPS: Final = statements("rollups_refresh")

# What is kept aside goes first: what belongs to a row is found by that row.
_TABLES: Final = ("duplicates", "conflicts", "rejected", "repricings", "events")

# What every sum but a user's is divided by.
_OVERALL: Final = ("provider", "model")

# Whose values may be logged: a project is no person.
_NAMELESS: Final = frozenset({"project", "organization", "provider", "model", "operation", "app"})


@dataclass(frozen=True, slots=True)
class Purged:
    """What a purge deleted, or would delete, in rows.

    Args:
        events: calls.
        duplicates: second tellings of calls.
        conflicts: other content under a call's identity.
        rejected: rows the ledger had not taken.
        repricings: entries in the history of the calls' costs.
        cost_usd: known cost of the calls, US dollars.
        aggregates: sums by hour of months that retention had let go.
        simulated: whether nothing was changed.
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
        """Calls, by the name users of Token Usage Metrics know."""
        return self.events

    @property
    def aggregates_deleted(self) -> int:
        """Sums of months let go, by the name users of Token Usage Metrics know."""
        return self.aggregates


def purge(  # noqa: PLR0913 - what to delete, one argument each
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
    """Delete the calls all conditions hold for.

    Args:
        database_url: the ledger, as a user who may delete from it.
        project: calls of this project.
        user: calls of this user.
        organization: calls of this organization.
        time_from: start, included, to the microsecond; without a zone it is UTC.
        time_to: end, not included.
        where: conditions on other dimensions.
        simulate: count and change nothing.
        include_aggregates: roll-ups follow the rows whatever this says. It is about months whose
            rows retention let go: their sums by the dimension named go too. Sums by other
            dimensions stay, and so do all where the conditions are of two dimensions that are no
            provider or model: nobody knows any more which part of a sum was whose.

    Raises:
        UsageError: there is no condition, its value is empty, or it names no dimension.
        LedgerError: whatever the database says; nothing was deleted.
    """
    given = {"project": project, "user": user, "organization": organization}
    wanted = {
        **(where or {}),
        **{name: value for name, value in given.items() if value is not None},
    }
    if not wanted:
        raise InvalidRequestError(
            "nothing to purge by: give a project, user, organization or another dimension"
        )
    if empty := [name for name, value in wanted.items() if _is_empty(value)]:
        raise InvalidRequestError(
            f"the value of {', '.join(empty)} is empty, as a variable that is not set is: give one"
        )
    bounds = (
        time_from and with_zone(time_from),
        time_to and with_zone(time_to),
    )
    with (reading if simulate else session)(database_url) as connection, connection.transaction():
        if not simulate:
            twins.lock(connection)
            refresh.lock(connection)
        verb = "count" if simulate else "delete"
        purged = _run(connection, verb, wanted, bounds)
        if include_aggregates:
            purged = replace(purged, aggregates=_sums_let_go(connection, verb, wanted, bounds))
        if not simulate:
            shown = {name: value if name in _NAMELESS else "" for name, value in wanted.items()}
            log_action(connection, "purge", asdict(purged), shown, bounds)
    if not simulate:
        _refresh_sums(database_url)
    return purged


async def apurge(  # noqa: PLR0913 - as `purge`
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
    """As `purge`, in a thread, for coroutines."""
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
            found = cursor.execute(statement, values).fetchone() or {}
            counts[table] = found["rows"]
            if table == "events":
                counts["cost_usd"] = found["cost_usd"]
    return Purged(**counts, simulated=verb == "count")


def _sums_let_go(
    connection: psycopg.Connection[Any],
    verb: str,
    where: Where,
    bounds: tuple[datetime | None, datetime | None],
) -> int:
    """Count or delete the sums of months without rows that are of these calls alone."""
    by_dimension = {known.name for known in ROLLED_UP}
    named = [name for name in where if name not in _OVERALL]
    mixed = set(named) & UNDIVIDED and len(named) < len(where)
    if len(named) > 1 or not by_dimension.issuperset(named) or mixed:
        return 0
    conditions: list[sql.Composable] = [
        sql.SQL("AND hours.dimension = {}").format(sql.Literal(name)) for name in named
    ]
    values: dict[str, object] = {"since": bounds[0] or BEGINNING, "until": bounds[1] or END}
    for name, wanted in where.items():
        column = sql.Identifier("hours", name if name in _OVERALL else "value")
        conditions.append(sql.SQL("AND {} = ANY({})").format(column, sql.Placeholder(name)))
        told = [wanted] if isinstance(wanted, str) else wanted
        values[name] = [value for value in told if is_storable(value)]
    statement = _ROLLUPS["count_final_sums" if verb == "count" else "delete_final_sums"]
    query = sql.SQL(statement).format(
        where=sql.SQL(" ").join(conditions),
        named_sums=sql.SQL(SUMMED["named_sums"]),
        subtracted=sql.SQL(listed("{name} = stored.{name} OPERATOR(pg_catalog.-) removed.{name}")),
    )
    [(rows,)] = connection.execute(query, values).fetchall()
    if rows and verb == "delete":
        connection.execute(_ROLLUPS["delete_empty_days"])
    return int(rows)


def _is_empty(value: str | Sequence[str]) -> bool:
    """Whether a value, or one of several, is empty; calls without one are not meant by it."""
    return not value or "" in ((value,) if isinstance(value, str) else value)


def _refresh_sums(database_url: str) -> None:
    """Take deleted calls out of the roll-ups, where this user may; else a keeper does it."""
    with session(database_url) as connection:
        may = refresh.may_refresh(connection)
        connection.rollback()
        if may:
            refresh.refresh(connection, build=False)
