"""Who each call is attributed to, and how that travels with the running code."""
