"""A Postgres from a Python wheel, for demos and tests."""
