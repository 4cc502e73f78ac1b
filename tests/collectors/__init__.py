"""Pipelines of `collector-config/` on a real Collector."""
