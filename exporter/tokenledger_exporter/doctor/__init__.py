"""Checks that a call would reach the ledger: environment, database and a probe call."""
