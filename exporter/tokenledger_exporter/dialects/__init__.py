"""Reads the span of any known emitter into the fields of one model call.

Each dialect is a small table (`dialect.Dialect`), and `read.read_call` reads all of them. Spans are
not deduplicated here: two emitters that report one call give two rows until the ledger deduplicates
them.
"""

from __future__ import annotations

from tokenledger_exporter.dialects.call import (
    CallFacts,
    input_of_other_kinds,
    missing_usage,
    name_to_price,
)
from tokenledger_exporter.dialects.read import read_call

__all__ = ["CallFacts", "input_of_other_kinds", "missing_usage", "name_to_price", "read_call"]
