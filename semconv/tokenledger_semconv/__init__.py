"""The contract between the two rooms: names, types and units. Standard library only.

`attributes` names what stands on a span, `tokens` the token vector and its invariants, `dimensions`
what a cost can be grouped by and the limits of each value, `settings` every option and its sources.
"""
