"""Writes priced rows into Postgres, each exactly once."""
