"""Refuses calls that a budget has no room for, before they are sent."""
