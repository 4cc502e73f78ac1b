"""Keeps the ledger consistent: deduplicate, roll up, partition, retain, purge, erase, reprice."""
