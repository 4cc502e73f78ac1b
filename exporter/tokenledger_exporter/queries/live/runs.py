"""What one trace (an agent run) or one session cost, call by call.

A call can have several rows: parts of it that are billed at other rates. They have its span and its
timestamp, so they are shown as parts of one step.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from psycopg import sql
from psycopg.rows import dict_row

from tokenledger_exporter.db.dimensions import is_storable
from tokenledger_exporter.db.shown_sql import show
from tokenledger_exporter.domain.coverage import Coverage
from tokenledger_exporter.errors import InvalidRequestError
from tokenledger_exporter.pricing.price_row import MONEY
from tokenledger_exporter.queries.calls import FOLLOWED_COLUMNS
from tokenledger_exporter.sql import statements

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime
    from decimal import Decimal

    import psycopg

    Row = Mapping[str, Any]

_SQL: Final = statements("live")
_COLUMNS: Final = {"trace": "trace_id", "session": "session_id"}
_MAX_SHOWN: Final = 5

RUN_COLUMNS: Final = (
    *FOLLOWED_COLUMNS,
    *("span_id", "agent_id", "ended_at", "ancestors", "token_organization_id"),
)
"""What is known of each row of a run."""


class UnknownRunError(InvalidRequestError):
    """No run has the id, or several do."""


@dataclass(frozen=True, slots=True)
class Step:
    """One call of a run.

    Args:
        call: its row.
        parts: its other rows.
        depth: how many calls of the run enclose it.
    """

    call: Row
    parts: Sequence[Row]
    depth: int

    @property
    def rows(self) -> tuple[Row, ...]:
        """The rows of the call."""
        return (self.call, *self.parts)


@dataclass(frozen=True, slots=True)
class Run:
    """The calls of a trace or session in a period.

    Args:
        kind: trace or session.
        run_id: its whole id.
        since: start of the period, included; earlier calls of the run are not in it.
        until: end of the period, excluded.
        steps: its calls by time.
        coverage: coverage of their rows, as in a report.
    """

    kind: str
    run_id: str
    since: datetime
    until: datetime
    steps: Sequence[Step]
    coverage: Coverage

    @property
    def cost_usd(self) -> Decimal | None:
        """Its known cost; `None` if the cost of no call is known."""
        return known_cost(row for step in self.steps for row in step.rows)

    @property
    def ended_at(self) -> datetime:
        """When its last call ended; a call without an end counts with its start."""
        last: datetime = max(step.call["ended_at"] or step.call["timestamp"] for step in self.steps)
        return last


def known_cost(rows: Iterable[Row]) -> Decimal | None:
    """The sum of the costs that are known; `None` if none is."""
    total: Decimal | None = None
    for row in rows:
        if (cost := row["cost_usd"]) is not None:
            total = cost if total is None else MONEY.add(total, cost)
    return total


def find_run(  # noqa: PLR0913 - one argument per part of the question
    connection: psycopg.Connection[Any],
    kind: str,
    text: str,
    since: datetime,
    until: datetime,
    *,
    remedy: str,
) -> Run:
    """The run that an id, or the start of one, names.

    Args:
        connection: to the ledger; in a transaction, all is one snapshot.
        kind: trace or session.
        text: the id or its start.
        since: start of the period, included.
        until: end of the period, excluded.
        remedy: how to look further back and where ids are listed, for the error.

    Raises:
        UnknownRunError: no run or several runs of the period have an id that begins so.
        InvalidRequestError: it is not an id.
    """
    column = sql.Identifier(_COLUMNS[kind])
    period = {"since": since, "until": until}
    run_id = _run_id(connection, kind, text, period, remedy)
    query = sql.SQL(_SQL["rows_of_run"]).format(
        columns=sql.SQL(", ").join(map(sql.Identifier, RUN_COLUMNS)), column=column
    )
    values = {**period, "run_id": run_id}
    show(connection, query, values)
    rows = connection.cursor(row_factory=dict_row).execute(query, values).fetchall()
    not_settled = sum(not row["settled"] for row in rows)
    states = Counter(row["cost_status"] for row in rows)
    differing = sum(row["cost_differs"] for row in rows)
    coverage = Coverage(**states, not_settled=not_settled, cost_differs=differing)
    return Run(kind, run_id, since, until, _steps(rows), coverage)


def _run_id(
    connection: psycopg.Connection[Any],
    kind: str,
    text: str,
    period: Mapping[str, datetime],
    remedy: str,
) -> str:
    text = text.strip()
    if kind == "trace":
        # As W3C writes them; UUIDs of other tools have dashes.
        text = text.lower().replace("-", "")
    days = f"{period['since']:%Y-%m-%d %H:%M %Z}"
    if not text or not is_storable(text):
        raise InvalidRequestError(f"invalid {kind} id {text!r}")
    query = sql.SQL(_SQL["runs_beginning_with"]).format(column=sql.Identifier(_COLUMNS[kind]))
    values = {**period, "text": text, "limit": _MAX_SHOWN}
    ids = [run_id for (run_id,) in connection.execute(query, values)]
    if not ids:
        raise UnknownRunError(f"no {kind} id begins with {text!r} since {days}; {remedy}")
    if len(ids) > 1 and ids[0] != text:
        raise UnknownRunError(
            f"several {kind} ids begin with {text!r}; use one of {', '.join(ids)}"
        )
    return str(ids[0])


def _steps(rows: Sequence[Row]) -> list[Step]:
    """The calls by time, each with its parts."""
    groups: dict[tuple[object, ...], list[Row]] = {}
    for row in rows:
        span = (row["trace_id"], row["span_id"], row["timestamp"], row["token_organization_id"])
        groups.setdefault(span if row["span_id"] else (row["event_id"],), []).append(row)
    calls = [sorted(group, key=_is_part) for group in groups.values()]
    ids = {call["event_id"] for call, *_ in calls}
    return [
        Step(call, parts, depth=len(ids.intersection(call["ancestors"]))) for call, *parts in calls
    ]


def _is_part(row: Row) -> tuple[bool, int]:
    """Sorts the row of the call before those of its parts, which have no duration."""
    return row["duration_ms"] is None, -(row["total_tokens"] or 0)
