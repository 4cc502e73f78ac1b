"""Answers from the ledger, under the name the older quick start teaches; they live in the exporter.

The one module here that may import the exporter; `import tokenledger` does not load it.
"""

from tokenledger_exporter.queries import TokenLedgerQueries

__all__ = ["TokenLedgerQueries"]
