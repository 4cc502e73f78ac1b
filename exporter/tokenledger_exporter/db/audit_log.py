"""Writes the audit log: who changed what in the ledger, without user ids."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from tokenledger_exporter.sql import statements

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    import psycopg

_SQL: Final = statements("audit_log")


def log_action(
    connection: psycopg.Connection[Any],
    action: str,
    counts: Mapping[str, object],
    dimensions: Mapping[str, object] | None = None,
    bounds: tuple[datetime | None, datetime | None] = (None, None),
) -> None:
    """Add an entry to the audit log, in the transaction that makes the change.

    Args:
        connection: the ledger.
        action: name of the action.
        counts: what was changed -> number of rows.
        dimensions: the filters of the action, without user ids.
        bounds: start and end of the action's period.
    """
    values = {
        "action": action,
        "dimensions": json.dumps(dimensions or {}),
        "time_from": bounds[0],
        "time_to": bounds[1],
        "counts": json.dumps(counts, default=str),
    }
    connection.execute(_SQL["log_action"], values)
