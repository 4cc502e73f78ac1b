"""Sums that equal the calls: mark dirty slices, refresh, read and verify."""
