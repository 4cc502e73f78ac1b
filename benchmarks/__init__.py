"""What we add to a call, counted and timed: `make bench`."""
