"""Commands that explain costs: why they changed, where they lead, and what a coding agent asks."""
