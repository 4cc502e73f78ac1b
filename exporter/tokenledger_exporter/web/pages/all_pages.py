"""Every page of the dashboard."""

from __future__ import annotations

from typing import Final

from tokenledger_exporter.web.pages.calls import CALLS
from tokenledger_exporter.web.pages.explore import EXPLORE
from tokenledger_exporter.web.pages.overview import OVERVIEW
from tokenledger_exporter.web.pages.why import WHY

PAGES: Final = (*OVERVIEW, *WHY, *EXPLORE, *CALLS)
"""Routes of the pages; `navigation` says which of them have a link on every page."""
