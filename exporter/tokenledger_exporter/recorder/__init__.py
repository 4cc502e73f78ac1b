"""In the app's process: from an ended span to the spool, from the spool to the ledger; health."""
