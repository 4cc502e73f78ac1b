"""In the app's process: writes ended spans to the spool, and the spool to the ledger; health."""
