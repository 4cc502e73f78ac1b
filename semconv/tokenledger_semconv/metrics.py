"""Names of the metrics a ledger gives of itself, on the app's own meter provider."""

from __future__ import annotations

from typing import Final

METER: Final = "tokenledger"
"""Name of the meter."""

WAITING: Final = "tokenledger.calls.waiting"
"""Gauge, {call}: calls of this process that are not committed."""

OLDEST_WAITING: Final = "tokenledger.calls.waiting.age"
"""Gauge, s: how long the oldest of them has waited; 0 if none does."""

COMMITTED: Final = "tokenledger.rows.committed"
"""Counter, {row}: rows this process committed."""

LOST: Final = "tokenledger.calls.lost"
"""Counter, {call}: records known to be gone, as in `token_ledger_losses`."""

SPOOL_SIZE: Final = "tokenledger.spool.size"
"""Gauge, By: what the segments of the ledger take on this machine's disk."""

FAILURES: Final = "tokenledger.attempts.failed"
"""Counter, {attempt}: attempts to write the ledger that failed."""

CIRCUIT_OPEN: Final = "tokenledger.circuit.open"
"""Gauge, 1: 1 while the circuit breaker leaves the database in peace, else 0."""
