"""Lists that people page through: calls, runs, and who spends most."""
