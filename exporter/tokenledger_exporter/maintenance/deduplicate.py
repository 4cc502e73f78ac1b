"""The keeper: settles which rows tell of one call, so that sums over settled rows are right.

It takes marked minutes, looks at their rows under the lock the writers look under, and carries out
what `settlement` says. The outcome depends only on which rows there are: a telling that comes late
may bring one that was set aside back, or take the place of one that stood.
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
from tokenledger_exporter.sql import statements
from tokenledger_exporter.store import duplicates
from tokenledger_exporter.store.same_call import settle

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from tokenledger_exporter.store.duplicates import KnownRow
    from tokenledger_exporter.store.same_call import SpanReport

_SQL: Final = statements("deduplicate")

_MINUTES: Final = 10
"""Marked minutes a transaction takes."""

_ROWS: Final = 2_000
"""Rows a transaction settles: writers wait for the lock no longer than these take."""

_MAX_ROUNDS: Final = 4
_MAX_RELATED: Final = 2 * _ROWS
_METADATA: Final = "metadata."
_COLUMNS: Final = frozenset(duplicates.ATTRIBUTION)
_ORGANIZATION: Final = "organization_id"

_NAMES: Final = [sql.Identifier(name) for name in duplicates.ATTRIBUTION]
_ATTRIBUTE: Final = sql.SQL(_SQL["attribute"]).format(
    assignments=sql.SQL(", ").join(sql.SQL("{0} = merged.{0}").format(name) for name in _NAMES),
    arrays=sql.SQL(", ").join(
        sql.SQL("{}::text[]").format(sql.Placeholder(name)) for name in duplicates.ATTRIBUTION
    ),
    names=sql.SQL(", ").join(_NAMES),
)


@dataclass(slots=True)
class Deduplicated:
    """What the keeper did, in rows.

    Args:
        settled: rows that stand for a call.
        set_aside: rows that told of a call another row stands for.
        restored: rows that came back into the ledger.
        skipped: a minute whose rows cannot be settled -> why; it stays marked.
    """

    settled: int = 0
    set_aside: int = 0
    restored: int = 0
    skipped: dict[datetime, str] = field(default_factory=dict["datetime", str])


def may_deduplicate(connection: psycopg.Connection[Any]) -> bool:
    """Whether this database user may deduplicate; leaves no transaction open."""
    row = connection.execute(_SQL["may_deduplicate"]).fetchone()
    connection.rollback()
    return bool(row and row[0])


def deduplicate_marked(connection: psycopg.Connection[Any]) -> Deduplicated:
    """Settle every marked minute, a few rows a transaction.

    Args:
        connection: the ledger, with no transaction open; the user may DELETE and UPDATE.

    Raises:
        LedgerError: whatever the database says; the marks of the last transaction are still there.
    """
    kept = Deduplicated()
    try:
        while _settle_some(connection, kept, _MINUTES, []):
            pass
    except Exception as error:  # noqa: BLE001 - whose fault it was is asked
        if not row_faults.may_be_a_rows_fault(error):
            raise (explain(error) if isinstance(error, psycopg.Error) else error) from None
        _settle_singly(connection, kept)
    return kept


def _settle_singly(connection: psycopg.Connection[Any], kept: Deduplicated) -> None:
    """Settle minute by minute; one that cannot be is left out, and stops none of the others."""
    more = True
    while more:
        taken: list[datetime] = []
        try:
            more = _settle_some(connection, kept, 1, taken)
        except Exception as error:  # noqa: BLE001 - the same
            if not (taken and row_faults.may_be_a_rows_fault(error)):
                raise (explain(error) if isinstance(error, psycopg.Error) else error) from None
            kept.skipped[taken[0]] = row_faults.reason_of(error)


def _settle_some(
    connection: psycopg.Connection[Any], kept: Deduplicated, minutes: int, taken: list[datetime]
) -> bool:
    """Settle some marked minutes; `taken` gets which. Whether there may be more."""
    with connection.transaction():
        # A batch that meets the lock is stored unsettled: it is not taken for nothing.
        if not connection.execute(_SQL["has_dirty_minutes"]).fetchone():
            return False
        duplicates.lock(connection)
        values = {"limit": minutes, "skipped": list(kept.skipped)}
        marks = connection.execute(_SQL["take_dirty_minutes"], values).fetchall()
        # A minute has a mark a batch: the first says how long it waits.
        waiting = dict(sorted(marks, reverse=True))
        taken += sorted(waiting)
        left = _ROWS
        for minute, recorded_at in sorted(waiting.items()):
            if left:
                erase.erase_unsettled(connection, minute)
                rows = duplicates.unsettled_rows(connection, minute, left)
                if rows:
                    _settle_rows(connection, rows, kept)
                left -= len(rows)
            if not left:
                again = {"minute": minute, "recorded_at": recorded_at}
                connection.execute(_SQL["mark_again"], again)
        return bool(marks)


def _settle_rows(
    connection: psycopg.Connection[Any], rows: Sequence[KnownRow], kept: Deduplicated
) -> None:
    """Settle these rows, and with them every row that may tell of the same calls."""
    family = _Family()
    family.add(rows)
    found = list(duplicates.related_rows(connection, [row.trace for row in rows]))
    if _may_be_one(rows, found):
        family.gather(connection, found)
        _carry_out(connection, family, _decide(family), kept)
    keys = _keys(family.standing.values())
    kept.settled += connection.execute(_SQL["set_settled"], keys).rowcount


def _may_be_one(rows: Sequence[KnownRow], found: Sequence[KnownRow]) -> bool:
    """Whether any of some rows has a relative, among them or among those that were found."""
    own = {row.event_id for row in rows}
    if any(row.event_id not in own or row.winner_event_id is not None for row in found):
        return True
    ids = [row.told.response_id for row in rows if row.told.response_id]
    if len(ids) > len(set(ids)):
        return True
    return any(not own.isdisjoint(row.told.ancestors) for row in rows)


@dataclass(slots=True)
class _Family:
    """Rows that may tell of the same calls: those in the ledger, and those set aside.

    A span that was set aside and came again is in both until it is set aside anew.
    """

    standing: dict[UUID, KnownRow] = field(default_factory=dict["UUID", "KnownRow"])
    aside: dict[UUID, KnownRow] = field(default_factory=dict["UUID", "KnownRow"])

    def add(self, rows: Iterable[KnownRow]) -> list[KnownRow]:
        """Take the rows; returns those that are new here."""
        new: list[KnownRow] = []
        for row in rows:
            place = self.standing if row.winner_event_id is None else self.aside
            if row.event_id not in place:
                place[row.event_id] = row
                new.append(row)
        return new

    def gather(self, connection: psycopg.Connection[Any], found: Iterable[KnownRow]) -> None:
        """Find the relatives of relatives, as far as reports of one call can be apart.

        A tenant can nest thousands of spans in one another: who is further away than this is
        settled with rows of its own.
        """
        new = self.add(found)
        for _ in range(_MAX_ROUNDS):
            if not new or len(self.standing) + len(self.aside) > _MAX_RELATED:
                break
            winners = {row.winner_event_id for row in new if row.winner_event_id is not None}
            more = [*duplicates.winners_of(connection, winners - self.standing.keys())]
            more += duplicates.related_rows(connection, [row.trace for row in (*new, *more)])
            new = self.add(more)

    @property
    def rows(self) -> dict[UUID, KnownRow]:
        """Each row once, as it is in the ledger where it is there."""
        return {**self.aside, **self.standing}


@dataclass(slots=True)
class _Decision:
    """What is to become of one row.

    Args:
        row: the row as it is.
        attribution: whom it is for then.
        metadata: further attribution then.
        winner_event_id: whom it is set aside for; `None` if it stands.
        reason: why.
        copied_fields: what the winner takes from it.
    """

    row: KnownRow
    attribution: dict[str, str]
    metadata: dict[str, Any]
    winner_event_id: UUID | None = None
    reason: str = ""
    copied_fields: list[str] = field(default_factory=list[str])

    @property
    def told(self) -> SpanReport:
        """What decides which call it is; whose it is, by its own word and no other telling's."""
        return replace(self.row.told, organization=self.attribution[_ORGANIZATION])


def _decide(family: _Family) -> list[_Decision]:
    """Which rows stand and which are set aside, each with the attribution that is its own."""
    known = family.rows
    taken: defaultdict[UUID | None, set[str]] = defaultdict(set)
    for row in family.aside.values():
        taken[row.winner_event_id].update(row.copied_fields)
    own = {event_id: _own(row, taken) for event_id, row in known.items()}
    decisions: list[_Decision] = []
    for call in settle(decision.told for decision in own.values()):
        winner = own[call.winner.event_id]
        decisions.append(winner)
        for told, reason in call.losers:
            loser = own[told.event_id]
            loser.winner_event_id, loser.reason = call.winner.event_id, reason
            loser.copied_fields = _give(loser, winner)
            decisions.append(loser)
    return decisions


def _own(row: KnownRow, taken: Mapping[UUID | None, set[str]]) -> _Decision:
    """The row without what it took from others when it was last settled."""
    foreign = taken[row.event_id] if row.winner_event_id is None else set[str]()
    pairs = (each.partition("=") for each in foreign)
    replaced = {name: own for name, equals, own in pairs if equals and name in _COLUMNS}
    attribution = {
        name: replaced.get(name, "" if name in foreign else value)
        for name, value in row.attribution.items()
    }
    metadata = {key: told for key, told in row.metadata.items() if _METADATA + key not in foreign}
    return _Decision(row, attribution, metadata)


def _give(loser: _Decision, winner: _Decision) -> list[str]:
    """Fill what the winner does not say; returns what was filled.

    A tenant's report fills no row of another source: it says whom the tenant likes. Where such a
    report stands for the operator's, because it costs more, the operator's attribution stays.
    """
    copied_fields: list[str] = []
    if loser.told.source and loser.told.source != winner.told.source:
        return copied_fields
    overrides = bool(winner.told.source) and not loser.told.source
    for name, value in loser.attribution.items():
        own = winner.attribution[name]
        if value and value != own and (not own or overrides):
            winner.attribution[name] = value
            copied_fields.append(f"{name}={own}" if own else name)
    for key, value in loser.metadata.items():
        if key not in winner.metadata:
            winner.metadata[key] = value
            copied_fields.append(_METADATA + key)
    return copied_fields


def _carry_out(
    connection: psycopg.Connection[Any],
    family: _Family,
    decisions: Sequence[_Decision],
    kept: Deduplicated,
) -> None:
    stand = [decision for decision in decisions if decision.winner_event_id is None]
    back = [d.row.event_id for d in stand if d.row.event_id in family.aside]
    if back:
        kept.restored += connection.execute(_SQL["restore"], {"event_ids": back}).rowcount
    lost = [decision for decision in decisions if decision.winner_event_id is not None]
    leaving = [d for d in lost if d.row.event_id in family.standing]
    _attribute(connection, [*stand, *leaving])
    if leaving:
        values = _losses(leaving)
        connection.execute(_SQL["add_conflicts"], values)
        kept.set_aside += connection.execute(_SQL["move_to_duplicates"], values).rowcount
    staying = [d for d in lost if d.row.event_id not in family.standing]
    if staying:
        connection.execute(_SQL["reassign"], _losses(staying))


def _attribute(connection: psycopg.Connection[Any], decisions: Sequence[_Decision]) -> None:
    """Write whom the rows are for, where that changed."""
    changed = [
        decision
        for decision in decisions
        if decision.attribution != decision.row.attribution
        or decision.metadata != decision.row.metadata
    ]
    if not changed:
        return
    values = _keys(decision.row for decision in changed)
    # A database without every letter takes no escape for one it has.
    values["metadata"] = [json.dumps(d.metadata, ensure_ascii=False) for d in changed]
    for name in duplicates.ATTRIBUTION:
        values[name] = [decision.attribution[name] for decision in changed]
    connection.execute(_ATTRIBUTE, values)


def _losses(lost: Sequence[_Decision]) -> dict[str, Any]:
    return {
        **_keys(decision.row for decision in lost),
        "winners": [decision.winner_event_id for decision in lost],
        "reasons": [decision.reason for decision in lost],
        "copied_fields": [
            json.dumps(decision.copied_fields, ensure_ascii=False) for decision in lost
        ],
    }


def _keys(rows: Iterable[KnownRow]) -> dict[str, Any]:
    keys = [(row.event_id, row.told.started_at) for row in rows]
    return {
        "event_ids": [event_id for event_id, _ in keys],
        "timestamps": [timestamp for _, timestamp in keys],
    }
