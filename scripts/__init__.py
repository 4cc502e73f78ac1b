"""Generators of what the documentation shows: reference pages and pictures."""
