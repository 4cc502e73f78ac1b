"""Values every room hands on: span records, ledger rows, coverage, provider names, time ranges."""
