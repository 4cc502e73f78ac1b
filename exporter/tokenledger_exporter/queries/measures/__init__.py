"""Errors, latency, tokens and the cache by any dimensions."""
