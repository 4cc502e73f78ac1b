"""From the bytes of an OTLP request to span records."""
