"""HTTP and gRPC listeners, with their time-outs, connection limits and certificates."""
