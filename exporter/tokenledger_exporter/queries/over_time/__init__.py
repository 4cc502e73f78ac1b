"""Costs over time: trends without gaps, and the current month."""
