"""From span records to committed rows: a bounded, fair queue."""
