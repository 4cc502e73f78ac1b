"""Reads a span into the facts of one model call, whoever emitted it.

One small table a dialect (`table.Dialect`), one reading function for all (`reading.read_call`).
Emitters are never folded together here: two of them that tell of one call are two rows until the
ledger settles them.
"""

from __future__ import annotations

from tokenledger_exporter.dialects.call import CallFacts, missing_usage, name_to_price
from tokenledger_exporter.dialects.read import read_call

__all__ = ["CallFacts", "missing_usage", "name_to_price", "read_call"]
