"""The entries of the navigation, by section; a new page gets one here."""

from __future__ import annotations

from typing import Final, NamedTuple


class Entry(NamedTuple):
    """One link of the navigation.

    Args:
        name: the name of the pages it stands for.
        path: where it leads to.
        title: its text.
    """

    name: str
    path: str
    title: str


NAVIGATION: Final = (
    (
        "Costs",
        (
            Entry("overview", "/", "Overview"),
            Entry("why", "/why", "Why it changed"),
            Entry("explore", "/explore", "Explore"),
            Entry("users", "/users", "Users"),
            Entry("tenants", "/tenants", "Tenants"),
        ),
    ),
    (
        "Activity",
        (
            Entry("runs", "/runs", "Runs"),
            Entry("calls", "/calls", "Calls"),
        ),
    ),
    ("Limits", (Entry("budgets", "/budgets", "Budgets"),)),
    (
        "Ledger",
        (
            Entry("prices", "/prices", "Prices"),
            Entry("health", "/ledger", "Health"),
        ),
    ),
    ("Reference", (Entry("api", "/api/v1/openapi.json", "API"),)),
)
"""Section -> its entries. Alerts and the bill are sections of their own."""
