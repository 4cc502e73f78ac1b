"""Turns one call into priced rows: identity, and additional provider charges."""
