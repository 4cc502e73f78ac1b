"""`tokenledger dashboard`: the JSON API over the ledger, read-only, for a browser or a program."""
