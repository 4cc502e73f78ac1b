"""Copies what other trackers wrote into the ledger."""
