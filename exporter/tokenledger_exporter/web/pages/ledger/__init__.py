"""Pages of what the figures rest on: prices, and the state of the ledger."""
