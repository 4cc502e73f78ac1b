"""Alerts: what is watched, what fires, and the messages about it.

`rules` finds what is over a threshold, `check` turns it into incidents that fire once, and `sender`
delivers their messages at least once. `background` does both in a thread.
"""
