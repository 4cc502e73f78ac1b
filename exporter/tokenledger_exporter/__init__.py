"""Turns spans into priced rows in Postgres, and rows into reports."""

from tokenledger_exporter.recorder.sdk_import import load_sdk

load_sdk()

from tokenledger_exporter.recorder.exporter import LedgerSpanExporter  # noqa: E402 - after its SDK

__all__ = ["LedgerSpanExporter"]
