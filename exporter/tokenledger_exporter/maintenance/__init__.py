"""Keeps the ledger right: deduplicate, roll up, partition, retain, purge, erase, reprice."""
