"""Deduplicates the rows of dirty minutes, so that each call counts once.

It takes dirty minutes, reads their rows under the lock that writers use, and applies the rule of
`duplicate_rule`. The result depends only on the set of rows: a late report may restore a row that
was moved to duplicates, or replace the row that stood for its call.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import psycopg
from psycopg import sql

from tokenledger_exporter.db import row_faults
from tokenledger_exporter.db.connection import explain
from tokenledger_exporter.maintenance import erase
from tokenledger_exporter.pricing.charge import REPORTED_NOTE, REPORTED_SHEET
from tokenledger_exporter.sql import statements
from tokenledger_exporter.store import duplicates
from tokenledger_exporter.store.duplicate_rule import group_reports

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from tokenledger_exporter.store.duplicate_rule import SpanReport
    from tokenledger_exporter.store.duplicates import StoredRow
    from tokenledger_semconv.usage.reported_cost import ReportedCost

_SQL: Final = statements("deduplicate")

_MINUTES: Final = 10
"""Dirty minutes per transaction."""

_ROWS: Final = 2_000
"""Rows per transaction; writers wait for the lock no longer than these take."""

_MAX_ROUNDS: Final = 4
_MAX_RELATED: Final = 2 * _ROWS
_METADATA: Final = "metadata."
_COLUMNS: Final = frozenset(duplicates.ATTRIBUTION)
_ORGANIZATION: Final = "organization_id"
_REPORTED_COST: Final = "reported_cost_usd"
_COST_REASON: Final = "another report of the call has the cost that the provider reports"

_NAMES: Final = [sql.Identifier(name) for name in duplicates.ATTRIBUTION]
_ATTRIBUTE: Final = sql.SQL(_SQL["attribute"]).format(
    assignments=sql.SQL(", ").join(sql.SQL("{0} = merged.{0}").format(name) for name in _NAMES),
    arrays=sql.SQL(", ").join(
        sql.SQL("{}::text[]").format(sql.Placeholder(name)) for name in duplicates.ATTRIBUTION
    ),
    names=sql.SQL(", ").join(_NAMES),
)


@dataclass(slots=True)
class DeduplicationResult:
    """The result of a deduplication, in rows.

    Args:
        settled: rows that stand for a call.
        moved: duplicates: rows that report a call for which another row is kept.
        restored: duplicates that were moved back into the ledger.
        skipped: a minute that cannot be deduplicated -> why; it stays dirty.
    """

    settled: int = 0
    moved: int = 0
    restored: int = 0
    skipped: dict[datetime, str] = field(default_factory=dict["datetime", str])


def may_deduplicate(connection: psycopg.Connection[Any]) -> bool:
    """Whether this database user may deduplicate; leaves no transaction open."""
    row = connection.execute(_SQL["may_deduplicate"]).fetchone()
    connection.rollback()
    return bool(row and row[0])


def deduplicate_marked(connection: psycopg.Connection[Any]) -> DeduplicationResult:
    """Deduplicate every dirty minute, a few rows per transaction.

    Args:
        connection: the ledger, with no transaction open; the user may DELETE and UPDATE.

    Raises:
        LedgerError: the database reported an error; minutes that are not done stay dirty.
    """
    result = DeduplicationResult()
    try:
        while _deduplicate_some(connection, result, _MINUTES, []):
            pass
    except Exception as error:  # noqa: BLE001 - checked for whether a row is at fault
        if not row_faults.may_be_row_fault(error):
            raise (explain(error) if isinstance(error, psycopg.Error) else error) from None
        _deduplicate_by_minute(connection, result)
    return result


def _deduplicate_by_minute(
    connection: psycopg.Connection[Any], result: DeduplicationResult
) -> None:
    """Deduplicate minute by minute; skip a minute that fails, so that others go on."""
    has_more = True
    while has_more:
        claimed_minutes: list[datetime] = []
        try:
            has_more = _deduplicate_some(connection, result, 1, claimed_minutes)
        except Exception as error:  # noqa: BLE001 - checked for whether a row is at fault
            if not (claimed_minutes and row_faults.may_be_row_fault(error)):
                raise (explain(error) if isinstance(error, psycopg.Error) else error) from None
            result.skipped[claimed_minutes[0]] = row_faults.reason_of(error)


def _deduplicate_some(
    connection: psycopg.Connection[Any],
    result: DeduplicationResult,
    minutes: int,
    claimed_minutes: list[datetime],
) -> bool:
    """Deduplicate some minutes and add them to `claimed_minutes`; whether there may be more."""
    with connection.transaction():
        # Batches that find the lock taken are stored unchecked, so it is only taken if needed.
        if not connection.execute(_SQL["has_dirty_minutes"]).fetchone():
            return False
        duplicates.lock(connection)
        values = {"limit": minutes, "skipped": list(result.skipped)}
        marks = connection.execute(_SQL["take_dirty_minutes"], values).fetchall()
        # A minute has one mark per batch; the first one tells how long it has waited.
        waiting = dict(sorted(marks, reverse=True))
        claimed_minutes += sorted(waiting)
        rows_left = _ROWS
        for minute, recorded_at in sorted(waiting.items()):
            if rows_left:
                erase.erase_unsettled(connection, minute)
                rows = duplicates.unsettled_rows(connection, minute, rows_left)
                if rows:
                    _deduplicate_rows(connection, rows, result)
                rows_left -= len(rows)
            if not rows_left:
                mark = {"minute": minute, "recorded_at": recorded_at}
                connection.execute(_SQL["mark_again"], mark)
        return bool(marks)


def _deduplicate_rows(
    connection: psycopg.Connection[Any], rows: Sequence[StoredRow], result: DeduplicationResult
) -> None:
    """Deduplicate these rows, together with every row that may report the same calls."""
    family = _RelatedRows()
    family.add(rows)
    related = list(duplicates.related_rows(connection, [row.trace for row in rows]))
    if _has_relatives(rows, related):
        family.gather(connection, related)
        _apply(connection, family, _decide(family), result)
    keys = _keys(family.ledger_rows.values())
    result.settled += connection.execute(_SQL["set_settled"], keys).rowcount


def _has_relatives(rows: Sequence[StoredRow], related: Sequence[StoredRow]) -> bool:
    """Whether any row has a relative, among the rows or among the related rows."""
    event_ids = {row.event_id for row in rows}
    if any(row.event_id not in event_ids or row.winner_event_id is not None for row in related):
        return True
    ids = [row.report.response_id for row in rows if row.report.response_id]
    if len(ids) > len(set(ids)):
        return True
    return any(not event_ids.isdisjoint(row.report.ancestors) for row in rows)


@dataclass(slots=True)
class _RelatedRows:
    """Rows that may report the same calls: those in the ledger, and duplicates.

    A duplicate that was sent again is in both until it is moved again.
    """

    ledger_rows: dict[UUID, StoredRow] = field(default_factory=dict["UUID", "StoredRow"])
    duplicates: dict[UUID, StoredRow] = field(default_factory=dict["UUID", "StoredRow"])

    def add(self, rows: Iterable[StoredRow]) -> list[StoredRow]:
        """Add rows; returns those that are new."""
        new: list[StoredRow] = []
        for row in rows:
            target = self.ledger_rows if row.winner_event_id is None else self.duplicates
            if row.event_id not in target:
                target[row.event_id] = row
                new.append(row)
        return new

    def gather(self, connection: psycopg.Connection[Any], related: Iterable[StoredRow]) -> None:
        """Find the relatives of relatives, within the distance that reports of one call can have.

        A tenant can nest thousands of spans: rows at a greater distance are deduplicated with rows
        of their own.
        """
        new = self.add(related)
        for _ in range(_MAX_ROUNDS):
            if not new or len(self.ledger_rows) + len(self.duplicates) > _MAX_RELATED:
                break
            winners = {row.winner_event_id for row in new if row.winner_event_id is not None}
            new_rows = [*duplicates.winners_of(connection, winners - self.ledger_rows.keys())]
            new_rows += duplicates.related_rows(
                connection, [row.trace for row in (*new, *new_rows)]
            )
            new = self.add(new_rows)

    @property
    def rows(self) -> dict[UUID, StoredRow]:
        """Each row once; the one in the ledger takes precedence."""
        return {**self.duplicates, **self.ledger_rows}


@dataclass(slots=True)
class _Decision:
    """What happens to one row.

    Args:
        row: the row as stored.
        attribution: its new attribution.
        metadata: its new metadata.
        reported_cost: its new reported cost.
        winner_event_id: the row that it is a duplicate of; `None` if it stands.
        reason: why it is a duplicate.
        copied_fields: fields that the winner copies from it.
    """

    row: StoredRow
    attribution: dict[str, str]
    metadata: dict[str, Any]
    reported_cost: ReportedCost | None
    winner_event_id: UUID | None = None
    reason: str = ""
    copied_fields: list[str] = field(default_factory=list[str])

    @property
    def report(self) -> SpanReport:
        """The report for the duplicate rule, with its own attribution, not that of others."""
        return replace(self.row.report, organization=self.attribution[_ORGANIZATION])


def _decide(family: _RelatedRows) -> list[_Decision]:
    """Which rows stand and which are duplicates, each with its own attribution."""
    rows = family.rows
    copied_by_winner: defaultdict[UUID | None, set[str]] = defaultdict(set)
    for row in family.duplicates.values():
        copied_by_winner[row.winner_event_id].update(row.copied_fields)
    originals = {event_id: _original(row, copied_by_winner) for event_id, row in rows.items()}
    decisions: list[_Decision] = []
    for call in group_reports(decision.report for decision in originals.values()):
        winner = originals[call.winner.event_id]
        decisions.append(winner)
        for report, reason in call.duplicates:
            loser = originals[report.event_id]
            loser.winner_event_id, loser.reason = call.winner.event_id, reason
            loser.copied_fields = _fill(loser, winner)
            decisions.append(loser)
    return decisions


def _original(row: StoredRow, copied_by_winner: Mapping[UUID | None, set[str]]) -> _Decision:
    """The row without the fields that it copied from others when it was last deduplicated."""
    copied_fields = copied_by_winner[row.event_id] if row.winner_event_id is None else set[str]()
    pairs = (field_text.partition("=") for field_text in copied_fields)
    replaced = {name: before for name, equals, before in pairs if equals and name in _COLUMNS}
    attribution = {
        name: replaced.get(name, "" if name in copied_fields else value)
        for name, value in row.attribution.items()
    }
    metadata = {
        key: value for key, value in row.metadata.items() if _METADATA + key not in copied_fields
    }
    reported_cost = None if _REPORTED_COST in copied_fields else row.reported_cost
    return _Decision(row, attribution, metadata, reported_cost)


def _fill(loser: _Decision, winner: _Decision) -> list[str]:
    """Copy fields that the winner does not have; returns their names.

    A tenant's report fills no row of another source, because the tenant chooses its content. If it
    replaces the operator's report because it costs more, the operator's attribution is copied.
    """
    copied_fields: list[str] = []
    if loser.report.source and loser.report.source != winner.report.source:
        return copied_fields
    overrides = bool(winner.report.source) and not loser.report.source
    for name, value in loser.attribution.items():
        before = winner.attribution[name]
        if value and value != before and (not before or overrides):
            winner.attribution[name] = value
            copied_fields.append(f"{name}={before}" if before else name)
    for key, value in loser.metadata.items():
        if key not in winner.metadata:
            winner.metadata[key] = value
            copied_fields.append(_METADATA + key)
    if winner.reported_cost is None and loser.reported_cost is not None:
        winner.reported_cost = loser.reported_cost
        copied_fields.append(_REPORTED_COST)
    return copied_fields


def _apply(
    connection: psycopg.Connection[Any],
    related: _RelatedRows,
    decisions: Sequence[_Decision],
    result: DeduplicationResult,
) -> None:
    winning = [decision for decision in decisions if decision.winner_event_id is None]
    restored_ids = [d.row.event_id for d in winning if d.row.event_id in related.duplicates]
    if restored_ids:
        result.restored += connection.execute(_SQL["restore"], {"event_ids": restored_ids}).rowcount
    losing = [decision for decision in decisions if decision.winner_event_id is not None]
    leaving = [d for d in losing if d.row.event_id in related.ledger_rows]
    _attribute(connection, [*winning, *leaving])
    _report_costs(connection, [*winning, *leaving])
    if leaving:
        values = _loser_values(leaving)
        connection.execute(_SQL["add_conflicts"], values)
        result.moved += connection.execute(_SQL["move_to_duplicates"], values).rowcount
    still_duplicates = [d for d in losing if d.row.event_id not in related.ledger_rows]
    if still_duplicates:
        connection.execute(_SQL["reassign"], _loser_values(still_duplicates))


def _attribute(connection: psycopg.Connection[Any], decisions: Sequence[_Decision]) -> None:
    """Write the attribution of rows where it changed."""
    changed = [
        decision
        for decision in decisions
        if decision.attribution != decision.row.attribution
        or decision.metadata != decision.row.metadata
    ]
    if not changed:
        return
    values = _keys(decision.row for decision in changed)
    # Not escaped: a database with another encoding refuses escapes of characters that it has.
    values["metadata"] = [json.dumps(d.metadata, ensure_ascii=False) for d in changed]
    for name in duplicates.ATTRIBUTION:
        values[name] = [decision.attribution[name] for decision in changed]
    connection.execute(_ATTRIBUTE, values)


def _report_costs(connection: psycopg.Connection[Any], decisions: Sequence[_Decision]) -> None:
    """Write the reported cost of rows where it changed."""
    changed = [
        decision for decision in decisions if decision.reported_cost != decision.row.reported_cost
    ]
    if not changed:
        return
    costs = [decision.reported_cost for decision in changed]
    values = {
        **_keys(decision.row for decision in changed),
        "usd": [None if cost is None else cost.usd for cost in costs],
        "sources": ["" if cost is None else cost.source for cost in costs],
        "note": REPORTED_NOTE,
        "price_id": REPORTED_SHEET,
        "reason": _COST_REASON,
    }
    connection.execute(_SQL["report_cost"], values)


def _loser_values(lost: Sequence[_Decision]) -> dict[str, Any]:
    return {
        **_keys(decision.row for decision in lost),
        "winners": [decision.winner_event_id for decision in lost],
        "reasons": [decision.reason for decision in lost],
        "copied_fields": [
            json.dumps(decision.copied_fields, ensure_ascii=False) for decision in lost
        ],
    }


def _keys(rows: Iterable[StoredRow]) -> dict[str, Any]:
    keys = [(row.event_id, row.report.started_at) for row in rows]
    return {
        "event_ids": [event_id for event_id, _ in keys],
        "timestamps": [timestamp for _, timestamp in keys],
    }
