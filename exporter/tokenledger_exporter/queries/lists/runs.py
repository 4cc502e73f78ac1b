"""Traces (agent runs) and sessions of a period with their figures, page by page.

No roll-up knows runs, so a list reads calls. It reads at most `MAX_CALLS` of them, the newest of
the period, and says from which time on.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta, timezone
from typing import TYPE_CHECKING, Any, Final

from psycopg import sql

from tokenledger_exporter.db.dimensions import narrowed
from tokenledger_exporter.db.steps import Statement
from tokenledger_exporter.domain.coverage import coverage_of
from tokenledger_exporter.errors import InvalidRequestError
from tokenledger_exporter.queries.arguments import check_count, check_text, check_where
from tokenledger_exporter.queries.notebook import NotebookResult, states_of
from tokenledger_exporter.rollups.source import ROWS
from tokenledger_exporter.sql import fragment, statements

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime
    from decimal import Decimal

    from tokenledger_exporter.db.dimensions import Where
    from tokenledger_exporter.db.steps import Steps
    from tokenledger_exporter.domain.coverage import Coverage
    from tokenledger_exporter.queries.notebook import Record

_SQL: Final = statements("lists")
_QUERIES: Final = statements("queries")

MAX_CALLS: Final = 100_000
"""Most calls that one list reads."""

MAX_RUNS: Final = 10_000
"""Most runs of a page."""

COLUMNS: Final = {"trace": "trace_id", "session": "session_id"}
"""Kind of run -> column of its id."""

RUN_ORDERS: Final = {"cost": "cost_usd", "time": "started_at", "calls": "calls"}
"""Sort key -> column; highest or latest first."""

# An index leads to the calls of one of their values.
_INDEXED: Final = frozenset({"user", "organization"})


@dataclass(frozen=True, slots=True)
class RunFigures:
    """What one run, or all of them, cost.

    Args:
        run_id: id of the trace or session; "" for all.
        started_at: when its first call of the period began; `None` if there is no call.
        ended_at: when its last call ended; a call without an end counts with its start.
        user_id: its user, or the first of several; "" if none is known.
        feature: its feature, or the first of several.
        has_users: it has calls of several users.
        has_features: it has calls of several features.
        steps: its spans; the rows of one span are one step.
        calls: its rows.
    """

    run_id: str
    started_at: datetime | None
    ended_at: datetime | None
    user_id: str
    feature: str
    has_users: bool
    has_features: bool
    steps: int
    calls: int
    errors: int
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    cost_usd: Decimal
    coverage: Coverage

    @property
    def known_cost_usd(self) -> Decimal | None:
        """Its cost; `None` if it has calls and the cost of none is known."""
        return None if self.coverage.knows_no_cost else self.cost_usd

    @property
    def duration_seconds(self) -> float | None:
        """From the start of its first call to the end of its last."""
        if self.started_at is None or self.ended_at is None:
            return None
        return (self.ended_at - self.started_at).total_seconds()


RUN_LIST_COLUMNS: Final = (
    *("run_id", "started_at", "ended_at", "duration_seconds", "user_id", "has_users", "feature"),
    *("has_features", "cost_usd", "steps", "calls", "errors", "input_tokens", "output_tokens"),
    *("cached_tokens", "without_cost", "not_settled"),
)
"""The columns of `run_row`."""

_SHOWN: Final = ("run_id", "user_id", "feature", "cost_usd", "steps", "calls", "errors")


def run_row(run: RunFigures) -> Record:
    """A run of a list as flat values; a cost that is not known is `None`."""
    coverage = run.coverage
    return {
        "run_id": run.run_id,
        "started_at": run.started_at,
        "ended_at": run.ended_at,
        "duration_seconds": run.duration_seconds,
        "user_id": run.user_id,
        "has_users": run.has_users,
        "feature": run.feature,
        "has_features": run.has_features,
        "cost_usd": run.known_cost_usd,
        "steps": run.steps,
        "calls": run.calls,
        "errors": run.errors,
        "input_tokens": run.input_tokens,
        "output_tokens": run.output_tokens,
        "cached_tokens": run.cached_tokens,
        "without_cost": coverage.without_cost,
        "not_settled": coverage.not_settled,
    }


@dataclass(frozen=True, slots=True)
class RunPage(NotebookResult):
    """Some runs of a period; iterating gives the runs.

    Args:
        kind: trace or session.
        since: calls before it are not in the list.
        is_cut: it is later than the start of the period, because there are more calls than
            `MAX_CALLS`.
        runs: the runs of this page.
        total: all runs of the list.
        count: their number.
    """

    kind: str
    since: datetime
    is_cut: bool
    runs: Sequence[RunFigures]
    total: RunFigures
    count: int

    def __iter__(self) -> Iterator[RunFigures]:
        return iter(self.runs)

    def __len__(self) -> int:
        return len(self.runs)

    @property
    def coverage(self) -> Coverage:
        """The coverage of all runs of the list."""
        return self.total.coverage

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know, a sentence each: which calls were not read."""
        if not self.is_cut:
            return ()
        since = self.since.astimezone(timezone.utc)
        note = (
            f"the period has more than {MAX_CALLS:,} calls: these are the runs of the newest "
            f"{MAX_CALLS:,}, since {since:%Y-%m-%d %H:%M:%S} UTC; a shorter period or a filter by "
            "user shows the others"
        )
        return (note,)

    def to_records(self) -> list[Record]:
        """One flat dict for each run."""
        return [run_row(run) | states_of(run.coverage) for run in self.runs]

    def _shown_records(self) -> list[Record]:
        return [
            {name: run_row(run)[name] for name in _SHOWN} | states_of(run.coverage)
            for run in self.runs
        ]

    def _sentences(self) -> list[str]:
        return [*self.notes, self.coverage.sentence]


def run_page_steps(  # noqa: PLR0913 - one argument per part of the statement
    kind: str,
    since: datetime,
    until: datetime,
    where: Where,
    *,
    order: str = "cost",
    limit: int = 50,
    skipped: int = 0,
    max_calls: int | None = None,
) -> Steps[RunPage]:
    """The runs of a period that cost most, or began last.

    Args:
        kind: trace or session.
        since: start, included.
        until: end, excluded.
        where: conditions on dimensions; a run has the figures of its calls that match.
        order: a key of `RUN_ORDERS`.
        limit: maximum number of runs, 1 to 10,000.
        skipped: how many runs come before this page.
        max_calls: most calls to read, `MAX_CALLS` by default.

    Raises:
        InvalidRequestError: a dimension, the kind or the order is unknown, or the limit is too
            small or too large.
    """
    check_where(where)
    _check(kind, order, limit)
    start = yield from _start_steps(since, until, where, max_calls or MAX_CALLS)
    condition, values = narrowed(where)
    query = sql.SQL(_SQL["runs"]).format(
        column=sql.Identifier(COLUMNS[kind]),
        order=sql.Identifier(RUN_ORDERS[order]),
        where=condition,
        figures=ROWS.figures,
        states=ROWS.states,
        sums=sql.SQL(fragment(_QUERIES["figures_of_sums"])),
        states_of_sums=sql.SQL(fragment(_QUERIES["states_of_sums"])),
    )
    bounds = {"since": start, "until": until, "limit": limit, "skipped": skipped}
    rows: list[Mapping[str, Any]] = yield Statement(query, {**bounds, **values})
    *runs, total = rows
    return RunPage(
        kind=kind,
        since=start,
        is_cut=start > since,
        runs=[_figures(row) for row in runs],
        total=_figures(total),
        count=total["runs"],
    )


def _check(kind: str, order: str, limit: int) -> None:
    check_text("kind", kind)
    check_text("order", order)
    if kind not in COLUMNS:
        raise InvalidRequestError(f"unknown kind of run {kind!r}; use one of {', '.join(COLUMNS)}")
    if order not in RUN_ORDERS:
        raise InvalidRequestError(f"unknown sort key {order!r}; use one of {', '.join(RUN_ORDERS)}")
    check_count("limit", limit, minimum=1, maximum=MAX_RUNS)


def _start_steps(since: datetime, until: datetime, where: Where, max_calls: int) -> Steps[datetime]:
    """The start of the period, or a later time if it has more than `max_calls` calls."""
    indexed = {name: values for name, values in where.items() if name in _INDEXED}
    condition, values = narrowed(indexed)
    query = sql.SQL(_SQL["start_of_newest"]).format(where=condition)
    bounds = {"since": since, "until": until, "calls": max_calls}
    rows = yield Statement(query, {**bounds, **values})
    return rows[0]["timestamp"] + timedelta(microseconds=1) if rows else since


def _figures(row: Mapping[str, Any]) -> RunFigures:
    return RunFigures(
        run_id=row["run_id"],
        started_at=row["started_at"],
        ended_at=row["ended_at"],
        user_id=row["first_user_id"] or "",
        feature=row["first_feature"] or "",
        has_users=row["first_user_id"] != row["last_user_id"],
        has_features=row["first_feature"] != row["last_feature"],
        steps=row["steps"],
        calls=row["calls"],
        errors=row["errors"],
        input_tokens=row["input_tokens"],
        output_tokens=row["output_tokens"],
        cached_tokens=row["cached_tokens"],
        cost_usd=row["cost_usd"],
        coverage=coverage_of(row),
    )
