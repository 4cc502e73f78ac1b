"""Commands that look at calls as they arrive, and at single runs of them."""
