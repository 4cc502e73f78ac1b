"""Prices rows again, each with the prices of its time, and records every cost that changes.

A row that no longer has a price keeps its cost. Rows that never had a price sheet (imports, rows
inserted manually with a cost, refused calls) are not changed. A second run changes nothing.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from psycopg import sql
from psycopg.rows import dict_row

from tokenledger_exporter.domain.progress import ignore_progress
from tokenledger_exporter.pricing.catalog.lookup import books_of
from tokenledger_exporter.pricing.charge import COST_COLUMNS, charge
from tokenledger_exporter.pricing.price_row import MONEY
from tokenledger_exporter.rating.stored_call import COLUMN_LIST, stored_call
from tokenledger_exporter.sql import statements

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

    from tokenledger_exporter.domain.progress import OnProgress
    from tokenledger_exporter.rating.stored_call import StoredCall

_SQL: Final = statements("reprice")

BATCH_ROWS: Final = 1_000
"""Rows per transaction."""

_START: Final = (datetime(1, 1, 1, tzinfo=timezone.utc), UUID(int=0))
_CHANGE: Final = tuple(name for name in COST_COLUMNS if name not in {"cost_note", "price_id"})


@dataclass(frozen=True, slots=True)
class Selection:
    """Which rows to price again; `None` means no filter."""

    since: datetime
    until: datetime
    models: list[str] | None = None
    providers: list[str] | None = None
    statuses: list[str] | None = None


@dataclass(slots=True)
class ModelChange:
    """The change for one model: rows, and their cost before and after, US dollars."""

    rows: int = 0
    old_usd: Decimal = Decimal(0)
    new_usd: Decimal = Decimal(0)
    filled: int = 0

    @property
    def difference_usd(self) -> Decimal:
        """The new cost minus the old cost."""
        return MONEY.subtract(self.new_usd, self.old_usd)


@dataclass(slots=True)
class Repricing:
    """The result of repricing.

    Args:
        looked_at: rows of the selection.
        changes: rows whose cost differs, by provider and model.
        unpriced: rows with a cost but without a price now; they keep the cost.
        written: rows whose new cost was committed.
    """

    looked_at: int = 0
    changes: defaultdict[tuple[str, str], ModelChange] = field(
        default_factory=lambda: defaultdict(ModelChange)
    )
    unpriced: int = 0
    written: int = 0

    @property
    def rows(self) -> int:
        """Rows whose cost differs."""
        return sum(change.rows for change in self.changes.values())


def reprice(
    connection: psycopg.Connection[Any],
    selection: Selection,
    *,
    reason: str | None,
    total: int | None = None,
    on_progress: OnProgress = ignore_progress,
) -> Repricing:
    """Price rows again, one transaction per batch.

    Args:
        connection: the ledger, with no transaction open.
        selection: which rows.
        reason: reason to record; `None` writes nothing.
        total: how many rows these are, for `on_progress`.
        on_progress: called after each batch.
    """
    result = Repricing()
    prices_of = books_of(connection)
    for batch in _batches(connection, selection):
        changed: list[tuple[StoredCall, dict[str, Any]]] = []
        for call in batch:
            result.looked_at += 1
            new = charge(call, call.timestamp, prices_of).columns
            if new["cost_usd"] is None:
                result.unpriced += call.cost_usd is not None
            elif any(new[name] != call.costs[name] for name in _CHANGE):
                changed.append((call, new))
                _count(result.changes[call.provider, call.priced_model], call, new)
        if reason is not None and changed:
            result.written += _write(connection, changed, reason)
            connection.commit()
        on_progress(result.looked_at, total)
    return result


def count_rows(connection: psycopg.Connection[Any], selection: Selection) -> int:
    """How many rows a selection has."""
    [(rows,)] = connection.execute(_SQL["count_candidates"], _filters(selection)).fetchall()
    return int(rows)


def _filters(selection: Selection) -> dict[str, Any]:
    return {
        "since": selection.since,
        "until": selection.until,
        "models": selection.models,
        "providers": selection.providers,
        "statuses": selection.statuses,
    }


def _batches(
    connection: psycopg.Connection[Any], selection: Selection
) -> Iterator[list[StoredCall]]:
    query = sql.SQL(_SQL["candidates"]).format(columns=COLUMN_LIST)
    timestamp, event_id = _START
    while True:
        values = {
            **_filters(selection),
            "after_timestamp": timestamp,
            "after_event_id": event_id,
            "limit": BATCH_ROWS,
        }
        cursor = connection.cursor(row_factory=dict_row)
        batch = [stored_call(row) for row in cursor.execute(query, values)]
        yield batch
        if len(batch) < BATCH_ROWS:
            return
        timestamp, event_id = batch[-1].timestamp, batch[-1].event_id


def _count(change: ModelChange, call: StoredCall, new: dict[str, Any]) -> None:
    change.rows += 1
    change.filled += call.cost_usd is None
    change.old_usd = MONEY.add(change.old_usd, call.cost_usd or Decimal(0))
    change.new_usd = MONEY.add(change.new_usd, new["cost_usd"])


def _write(
    connection: psycopg.Connection[Any],
    changed: list[tuple[StoredCall, dict[str, Any]]],
    reason: str,
) -> int:
    values: dict[str, Any] = {name: [new[name] for _, new in changed] for name in COST_COLUMNS}
    values |= {
        f"old_{name}": [call.costs[name] for call, _ in changed]
        for name in ("cost_usd", "cost_status", "price_id")
    }
    values["event_id"] = [call.event_id for call, _ in changed]
    values["timestamp"] = [call.timestamp for call, _ in changed]
    values["reason"] = reason
    return connection.execute(_SQL["reprice"], values).rowcount
