"""Commands that explain costs: why they changed, and what a coding agent asks."""
