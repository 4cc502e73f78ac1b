"""Refuses model calls that a budget has no money for, before they are sent."""
