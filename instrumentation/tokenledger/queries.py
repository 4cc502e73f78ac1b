"""The query API of the exporter, under the name used in the older quick start.

This module and `server` may import the exporter; `import tokenledger` loads neither.
"""

from tokenledger_exporter.queries import AsyncTokenLedgerQueries, TokenLedgerQueries, as_records

__all__ = ["AsyncTokenLedgerQueries", "TokenLedgerQueries", "as_records"]
