"""Prices and commits span records through a bounded, fair queue."""
