"""In the app's process: writes ended spans to the spool, and the spool to the ledger; health."""

from tokenledger_exporter.recorder.sdk_import import load_sdk

# Before any module of this room imports it.
load_sdk()
