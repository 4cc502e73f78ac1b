"""From one call to its priced rows: identity, and what a provider bills in addition."""
