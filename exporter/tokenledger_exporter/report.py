"""Cost by any dimensions over a stretch of time, with the coverage that says what is missing."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, Final

from psycopg import sql
from psycopg.rows import dict_row

from tokenledger_exporter.errors import UsageError
from tokenledger_exporter.sql import statements
from tokenledger_semconv.dimensions import DIMENSIONS, METADATA_DIMENSION_PREFIX

if TYPE_CHECKING:
    from collections.abc import Sequence
    from decimal import Decimal

    import psycopg
    from typing_extensions import LiteralString

_SQL: Final = statements("read")

SCHEMA_VERSION: Final = 1
"""Version of the JSON a report prints."""

OLD_PRICES: Final = timedelta(days=30)
"""A price book not compared with its list for longer than this is said to be old."""

_COLUMNS: Final = {dimension.name: dimension.column for dimension in DIMENSIONS}
_BUCKETS: Final = {"hour": "YYYY-MM-DD HH24:00", "day": "YYYY-MM-DD", "month": "YYYY-MM"}
_EVERYTHING: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Coverage:
    """How many calls have which kind of cost.

    Args:
        lost: records known to be gone; none of the calls.
        not_settled: calls, whatever their cost, that a second row may tell of.
    """

    priced: int = 0
    partial: int = 0
    estimated: int = 0
    unpriced: int = 0
    unmeasured: int = 0
    lost: int = 0
    not_settled: int = 0

    @property
    def calls(self) -> int:
        """Calls in the ledger, lost ones not among them."""
        known = self.priced + self.partial + self.estimated
        return known + self.unpriced + self.unmeasured

    @property
    def is_complete(self) -> bool:
        """Whether every call has its whole cost, once."""
        return self.priced == self.calls and not self.lost and not self.not_settled

    @property
    def sentence(self) -> str:
        """One line for people: what share is priced, and every other state that occurs."""
        if not self.calls and not self.lost:
            return "coverage: no calls yet"
        share = f"{100 * self.priced / self.calls:.1f} %" if self.calls else "0 %"
        states = ("partial", "estimated", "unpriced", "unmeasured", "lost")
        others = [f"{getattr(self, state)} {state}" for state in states if getattr(self, state)]
        others += [f"{self.not_settled} not settled"] if self.not_settled else []
        tail = ", " + ", ".join(others) if others else ""
        return f"coverage: {self.priced} of {self.calls} calls priced ({share}){tail}"


@dataclass(frozen=True, slots=True)
class ReportRow:
    """One group: its labels in the order asked for, its money (US dollars) and its counts."""

    labels: tuple[str, ...]
    cost_usd: Decimal
    calls: int
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    coverage: Coverage


@dataclass(frozen=True, slots=True)
class Report:
    """Groups, dearest first, and their total over the whole stretch.

    Args:
        as_of: the time the ledger is looked at; `None` is now.
        as_if: the model whose prices stand in for each call's own; "" is none.
        notes: what a reader must know of the figures, a sentence each.
    """

    by: tuple[str, ...]
    since: datetime
    until: datetime
    rows: tuple[ReportRow, ...]
    totals: ReportRow
    as_of: datetime | None = None
    as_if: str = ""
    notes: tuple[str, ...] = ()

    @property
    def coverage(self) -> Coverage:
        """Coverage of every call in the stretch."""
        return self.totals.coverage


def build_report(  # noqa: PLR0913 - what is asked, one argument each
    connection: psycopg.Connection[Any],
    by: Sequence[str],
    since: datetime,
    until: datetime,
    *,
    limit: int = _EVERYTHING,
    as_of: datetime | None = None,
) -> Report:
    """Sum the ledger from `since` (included) to `until` (not included).

    Args:
        connection: the ledger.
        by: dimension names, `metadata.<key>`, or `hour`, `day`, `month` (UTC); none is the total,
            and a name said twice counts once.
        since: start, with a time zone.
        until: end, with a time zone.
        limit: most groups to return; the total always covers all.
        as_of: rows known then, at the cost they had then; `None` is now.

    Raises:
        UsageError: a dimension does not exist; the message lists those that do. Or the stretch
            ends before it starts.
    """
    by, groups = checked_groups(by, since, until)
    stretch = {"since": since, "until": until, "limit": limit, "as_of": as_of}
    statement = _SQL["report" if as_of is None else "report_as_of"]
    rows = _select(connection, statement, groups, stretch) if groups else []
    total = _select(connection, statement, [], stretch)[0]
    known_until = until if as_of is None else min(until, as_of)
    return Report(
        by=by,
        since=since,
        until=until,
        rows=tuple(_row(found, len(by), lost=0) for found in rows),
        totals=_row(total, 0, lost=count_losses(connection, since, known_until)),
        as_of=as_of,
        notes=price_book_notes(connection),
    )


def checked_groups(
    by: Sequence[str], since: datetime, until: datetime
) -> tuple[tuple[str, ...], list[sql.Composable]]:
    """The dimensions, each once, and their SQL; raises as `build_report`."""
    if since > until:
        raise UsageError(
            f"the start {since.isoformat()} is after the end {until.isoformat()}: swap them"
        )
    names = tuple(dict.fromkeys(by))
    return names, [_group(name) for name in names]


def count_losses(connection: psycopg.Connection[Any], since: datetime, until: datetime) -> int:
    """Records known to be gone in a stretch."""
    found = connection.execute(_SQL["losses"], {"since": since, "until": until}).fetchone()
    return int(found[0]) if found else 0


def price_book_notes(connection: psycopg.Connection[Any]) -> tuple[str, ...]:
    """One sentence where the price book was last compared with its list too long ago."""
    found = connection.execute(_SQL["price_age"]).fetchone()
    if not found or found[0] is None:
        return ()
    age = datetime.now(timezone.utc).date() - found[0]
    if age <= OLD_PRICES:
        return ()
    sentence = (
        f"the price book was last checked {found[0]}, {age.days} days ago: upgrade genai-prices "
        "and run 'tokenledger prices update'"
    )
    return (sentence,)


def dimension_names() -> tuple[str, ...]:
    """What a report can be grouped by."""
    return (*_COLUMNS, *_BUCKETS, f"{METADATA_DIMENSION_PREFIX}<key>")


def _group(name: str) -> sql.Composable:
    if name in _COLUMNS:
        return sql.Identifier(_COLUMNS[name])
    if name in _BUCKETS:
        shape = sql.Literal(_BUCKETS[name])
        return sql.SQL("to_char(timestamp AT TIME ZONE 'UTC', {})").format(shape)
    key = name.removeprefix(METADATA_DIMENSION_PREFIX)
    if key != name and key and _is_storable(key):
        # The query takes parameters, where a bare % would begin one.
        return sql.SQL("COALESCE(metadata ->> {}, '')").format(sql.Literal(key.replace("%", "%%")))
    raise UsageError(
        f"{name!r} is no dimension: group by one or more of {', '.join(dimension_names())}"
    )


def _is_storable(key: str) -> bool:
    """Whether Postgres can hold it: a shell's bytes that are no UTF-8 arrive as lone surrogates."""
    return "\0" not in key and not any("\ud800" <= letter <= "\udfff" for letter in key)


def label_columns(groups: list[sql.Composable]) -> sql.Composed:
    """The groups as columns `label_0`, `label_1` ... at the head of a SELECT."""
    labels = [
        sql.SQL("{} AS {},").format(group, sql.Identifier(f"label_{number}"))
        for number, group in enumerate(groups)
    ]
    return sql.SQL(" ").join(labels)


def _select(
    connection: psycopg.Connection[Any],
    statement: LiteralString,
    groups: list[sql.Composable],
    stretch: dict[str, Any],
) -> list[dict[str, Any]]:
    grouping: sql.Composable = sql.SQL("")
    if groups:
        grouping = sql.SQL(_SQL["grouping"]).format(groups=sql.SQL(", ").join(groups))
    query = sql.SQL(statement).format(labels=label_columns(groups), grouping=grouping)
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query, stretch).fetchall()


def _row(found: dict[str, Any], labels: int, *, lost: int) -> ReportRow:
    states = {state.name: found[state.name] for state in fields(Coverage) if state.name in found}
    return ReportRow(
        labels=tuple(str(found[f"label_{number}"]) for number in range(labels)),
        cost_usd=found["cost_usd"],
        calls=found["calls"],
        input_tokens=found["input_tokens"],
        output_tokens=found["output_tokens"],
        cached_tokens=found["cached_tokens"],
        coverage=Coverage(**states, lost=lost),
    )
