"""One instrumentor per SDK, each found by OpenTelemetry's `opentelemetry_instrumentor` group."""
