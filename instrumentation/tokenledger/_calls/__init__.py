"""One recorded model call: its spans, its tracer and the meters that count it."""
