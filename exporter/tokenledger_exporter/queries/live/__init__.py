"""Queries that watch the ledger while calls are written."""
