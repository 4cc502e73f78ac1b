"""Sums that equal the calls: mark dirty minutes, refresh, read and verify."""
