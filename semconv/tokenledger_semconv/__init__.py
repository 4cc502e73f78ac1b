"""The contract between instrumentation and exporter: names, types and units, standard library only.

`attributes` has the names on a span, `tokens` the token vector and its invariants, `usage` a reader
per provider, `dimensions` what costs can be grouped by, `settings` every option and its sources.
"""
