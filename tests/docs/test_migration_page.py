"""The page for users of TokenLedger 0.1.1 names everything that its wheel exports."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import tokenledger
from tokenledger_exporter import queries

_PAGE: Final = Path(__file__).parents[2] / "docs" / "guides" / "migrate-from.md"

# `__all__` of the wheel's package, and its public names by module (read 2026-11-28).
_NAMES: Final = """
AsyncTokenTracker AttributionContext LLMEvent TokenTracker attribution clear_attribution configure
create_event_safe get_async_tracker get_attribution_context get_config get_tracker patch_anthropic
patch_google patch_openai reset_attribution_context set_attribution_context track_cost
track_event_async track_llm unpatch_anthropic unpatch_google unpatch_openai
"""
_PACKAGE: Final = _NAMES.split()
_MODULES: Final = {
    "queries": "TokenLedgerQueries AsyncTokenLedgerQueries CostSummary ModelCost UserCost DailyCost"
    " HourlyCost execute_query execute_query_async",
    "middleware": "FastAPIMiddleware FlaskMiddleware",
    "pricing": "ModelPricing get_pricing calculate_cost estimate_monthly_cost calculate_audio_cost"
    " calculate_tts_cost calculate_image_cost",
    "server": "app run_server",
    "migrations": "MigrationRunner",
    **dict.fromkeys(
        ("async_db", "backends", "interceptors", "tracker", "models", "config", "context"), ""
    ),
    "decorators": "",
}


def _rows(heading: str) -> list[tuple[set[str], str]]:
    """The names of each row's first cell, and its second cell, of the table below a line."""
    table = _PAGE.read_text().split(heading, 1)[1].split("|---|---|\n", 1)[1].split("\n\n", 1)[0]
    cells = [line.strip("| ").split(" | ", 1) for line in table.strip().splitlines()]
    return [(set(re.findall(r"`([^`]+)`", first)), second) for first, second in cells]


def test_every_name_of_the_older_package_is_in_one_row_of_the_table() -> None:
    rows = _rows("`import tokenledger`:")
    assert sorted(name for names, _ in rows for name in names) == sorted(_PACKAGE)


def test_a_name_that_is_the_same_here_exists() -> None:
    for names, replacement in _rows("`import tokenledger`:"):
        if replacement.startswith("the same"):
            assert names <= set(tokenledger.__all__)
        else:
            assert names.isdisjoint(tokenledger.__all__)


def test_every_public_name_of_the_older_modules_is_in_the_table() -> None:
    rows = _rows("Submodules:")
    names = {name for named, _ in rows for name in named}
    for module, public in _MODULES.items():
        assert f"tokenledger.{module}" in names
        assert set(public.split()) <= names


def test_the_results_have_the_same_names() -> None:
    results = {"CostSummary", "ModelCost", "UserCost", "DailyCost", "HourlyCost"}
    assert results <= set(queries.__all__)
