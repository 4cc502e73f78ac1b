"""Turns spans into priced rows in Postgres, and rows into reports.

`LedgerSpanExporter` is imported on first use: it needs OpenTelemetry's SDK, which takes most of the
start of a command that only reads the ledger.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tokenledger_exporter.recorder.exporter import LedgerSpanExporter

__all__ = ["LedgerSpanExporter"]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - a class, or no attribute
    if name != "LedgerSpanExporter":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from tokenledger_exporter.recorder.exporter import LedgerSpanExporter  # noqa: PLC0415

    return LedgerSpanExporter
