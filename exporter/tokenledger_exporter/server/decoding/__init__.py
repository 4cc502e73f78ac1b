"""Decodes OTLP requests into span records."""
