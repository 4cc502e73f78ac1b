"""The rig that proves that nothing billed is lost: real processes, a real Postgres, real faults.

Each case counts the calls its processes made, breaks something, lets another process recover what
is left, and counts what the ledger holds: `make faults`.
"""
