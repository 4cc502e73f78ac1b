"""HTTP and gRPC listeners, with their timeouts, connection limits and certificates."""
