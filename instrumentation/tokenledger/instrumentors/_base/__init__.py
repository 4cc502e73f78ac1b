"""What every instrumentor needs, whatever SDK it records."""
