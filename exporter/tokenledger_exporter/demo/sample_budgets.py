"""Budgets of the sample ledger: one with room, one near its limit, one at it, one per tenant."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Final

from psycopg.types.json import Jsonb

from tokenledger_exporter.budgets.budgets import pause_budget, set_budget
from tokenledger_exporter.db.connection import session
from tokenledger_exporter.sql import statements

_SQL: Final = statements("budgets")
_CALLS_IN_FLIGHT: Final = (("run-of-research", "0.85"), ("run-of-growth", "0.35"))
_REFUSED_CALLS: Final = 3


def set_sample_budgets(database_url: str) -> None:
    """Set them, and let calls in flight reserve and be refused.

    Args:
        database_url: the filled ledger, as its owner.
    """
    set_budget(database_url, "company", limit=240, per="30d", warn="80,100")
    set_budget(
        database_url,
        "research",
        limit=125,
        where={"team": "research"},
        per="30d",
        warn="50,80",
        timezone="Europe/Berlin",
    )
    set_budget(database_url, "growth", limit=8, where={"team": "growth"}, per="30d")
    set_budget(
        database_url, "tenants", limit=80, each="organization", per="30d", warn="80", action="alert"
    )
    set_budget(database_url, "staging", limit=5, where={"environment": "staging"})
    pause_budget(database_url, "staging")
    _reserve(database_url)


def _reserve(database_url: str) -> None:
    with session(database_url) as connection:
        for holder, usd in _CALLS_IN_FLIGHT:
            team = holder.rpartition("-")[2]
            values = {
                "holder": holder,
                "dimensions": Jsonb({"team": team, "app": "assistant"}),
                "usd": Decimal(usd),
                "as_lease": False,
                "app_name": "assistant",
                "lifetime": timedelta(days=1),
                "is_sent": True,
                "span_key": "",
            }
            for _ in range(_REFUSED_CALLS if team == "growth" else 1):
                connection.execute(_SQL["reserve"], values)
