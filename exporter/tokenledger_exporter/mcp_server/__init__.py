"""The ledger as tools of coding agents, over the Model Context Protocol: read-only."""
