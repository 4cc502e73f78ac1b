"""Every page of the dashboard."""

from __future__ import annotations

from typing import Final

from tokenledger_exporter.web.pages.activity.call import CALL
from tokenledger_exporter.web.pages.activity.calls import CALLS
from tokenledger_exporter.web.pages.activity.runs import RUNS
from tokenledger_exporter.web.pages.activity.spenders import SPENDERS
from tokenledger_exporter.web.pages.contributors import CONTRIBUTORS
from tokenledger_exporter.web.pages.explore import EXPLORE
from tokenledger_exporter.web.pages.ledger.budgets import BUDGETS
from tokenledger_exporter.web.pages.ledger.health import HEALTH
from tokenledger_exporter.web.pages.ledger.prices import PRICES
from tokenledger_exporter.web.pages.overview import OVERVIEW
from tokenledger_exporter.web.pages.why import WHY

PAGES: Final = (
    *OVERVIEW,
    *WHY,
    *CONTRIBUTORS,
    *EXPLORE,
    *SPENDERS,
    *RUNS,
    *CALLS,
    *CALL,
    *BUDGETS,
    *PRICES,
    *HEALTH,
)
"""Routes of the pages; `navigation` says which of them have a link on every page."""
