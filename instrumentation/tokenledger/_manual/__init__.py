"""Calls the app reports itself: `track`, `track_cost` and the `track_llm` decorator."""
