"""Names of the ledger's own metrics, on the app's meter provider."""

from __future__ import annotations

from typing import Final

METER: Final = "tokenledger"
"""Name of the meter."""

WAITING: Final = "tokenledger.calls.waiting"
"""Gauge, {call}: calls of this process that are not committed yet."""

OLDEST_WAITING: Final = "tokenledger.calls.waiting.age"
"""Gauge, s: how long the oldest of them has waited; 0 if none waits."""

COMMITTED: Final = "tokenledger.rows.committed"
"""Counter, {row}: rows committed by this process."""

LOST: Final = "tokenledger.calls.lost"
"""Counter, {call}: records known to be lost, as in `token_ledger_losses`."""

SPOOL_SIZE: Final = "tokenledger.spool.size"
"""Gauge, By: disk space of the ledger's segments on this machine."""

FAILURES: Final = "tokenledger.attempts.failed"
"""Counter, {attempt}: attempts to write the ledger that failed."""

CIRCUIT_OPEN: Final = "tokenledger.circuit.open"
"""Gauge, 1: 1 while the circuit breaker is open, else 0."""
