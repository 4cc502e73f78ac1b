"""Recorded exchanges, ours and the larger corpus, and the real SDKs to play them again."""
