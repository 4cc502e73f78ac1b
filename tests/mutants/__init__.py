"""Mutation testing: measures whether the unit tests notice a change in the code they cover."""
