"""Code shared by all instrumentors."""
