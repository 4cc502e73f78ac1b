"""Value types of all rooms: span records, ledger rows, coverage, provider names, time ranges."""
