"""From a span to a priced row in Postgres, and from rows to answers."""

from tokenledger_exporter.span_exporter import LedgerSpanExporter

__all__ = ["LedgerSpanExporter"]
