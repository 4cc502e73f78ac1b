"""A call read back from its ledger row: everything that pricing needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from psycopg import sql

from tokenledger_exporter.dialects import input_of_other_kinds, missing_usage, name_to_price
from tokenledger_exporter.pricing.charge import (
    COST_COLUMNS,
    ESTIMATED_NOTE,
    NOT_SENT_NOTE,
    REFUSED_NOTE,
    unknown_notes,
)
from tokenledger_semconv.tokens import TokenVector

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from decimal import Decimal
    from uuid import UUID

_COUNTS: Final = TokenVector._fields

_COLUMNS: Final = (
    *("provider", "model", "request_model", "operation", "service_tier", "inference_geo"),
    *_COUNTS,
    *("reported_cost_usd", "details"),
    *COST_COLUMNS,
)
COLUMN_LIST: Final = sql.SQL(", ").join(sql.Identifier(column) for column in _COLUMNS)
"""The columns of a `StoredCall`, in addition to `event_id`, `timestamp` and `scope`."""


@dataclass(frozen=True, slots=True)
class StoredCall:
    """One row of the ledger; implements `charge.Billable`.

    Args:
        costs: the cost columns as stored.
    """

    event_id: UUID
    timestamp: datetime
    scope: str
    provider: str
    model: str
    request_model: str
    operation: str
    service_tier: str
    inference_geo: str
    tokens: TokenVector
    reported_cost_usd: Decimal | None
    details: Mapping[str, object]
    cost_usd: Decimal | None
    cost_status: str
    cost_note: str
    price_id: str
    costs: Mapping[str, Any]

    @property
    def priced_model(self) -> str:
        """The model name to look up its price by."""
        return name_to_price(self.provider, self.request_model, self.model)

    @property
    def refused(self) -> bool:
        """Whether the provider refused it before any work, or never got it."""
        return self.cost_note in {REFUSED_NOTE, NOT_SENT_NOTE}

    @property
    def not_sent(self) -> bool:
        """Whether no request reached the provider."""
        return self.cost_note == NOT_SENT_NOTE

    @property
    def estimated(self) -> bool:
        """Whether its output was estimated."""
        return self.cost_status == "estimated" or ESTIMATED_NOTE in self.cost_note

    @property
    def shortest_turn(self) -> None:
        """Unknown for a stored row; a note about it stays."""
        return

    @property
    def input_of_other_kinds(self) -> Mapping[str, int]:
        """Input tokens that may have another price than the one they get, by price kind."""
        return input_of_other_kinds(self.details, self.tokens.cache_write_tokens)

    @property
    def missing_usage(self) -> str:
        """Which counts are missing, as a sentence."""
        missing = missing_usage(self.operation, self.tokens)
        return "; ".join(filter(None, (missing, *unknown_notes(self.cost_note))))


def stored_call(row: Mapping[str, Any]) -> StoredCall:
    """The call of a row with the columns `COLUMN_LIST`, `event_id`, `timestamp` and `scope`."""
    return StoredCall(
        event_id=row["event_id"],
        timestamp=row["timestamp"],
        scope=row["scope"],
        provider=row["provider"],
        model=row["model"],
        request_model=row["request_model"],
        operation=row["operation"],
        service_tier=row["service_tier"],
        inference_geo=row["inference_geo"],
        tokens=TokenVector(**{name: row[name] for name in _COUNTS}),
        reported_cost_usd=row["reported_cost_usd"],
        details=row["details"] or {},
        cost_usd=row["cost_usd"],
        cost_status=row["cost_status"],
        cost_note=row["cost_note"],
        price_id=row["price_id"],
        costs={name: row[name] for name in COST_COLUMNS},
    )
