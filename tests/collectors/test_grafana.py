"""Grafana's dashboard matches its generator, and its queries work."""

from __future__ import annotations

import importlib.util
import json
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import psycopg
import pytest
import yaml
from msgspec.structs import replace
from psycopg.rows import dict_row

from collectors.otelcol import CONFIGURATIONS
from support.ledger_rows import chat_attributes, row
from tokenledger_exporter.store.writer import BatchWriter

if TYPE_CHECKING:
    from pathlib import Path

_GRAFANA: Final = CONFIGURATIONS / "grafana"
_COSTS: Final = _GRAFANA / "dashboards" / "costs.json"


def _panels() -> list[dict[str, Any]]:
    panels: list[dict[str, Any]] = json.loads(_COSTS.read_text(encoding="utf-8"))["panels"]
    return panels


def _answer(connection: psycopg.Connection[Any], panel: dict[str, Any]) -> list[dict[str, Any]]:
    """A panel's rows, with Grafana's macros set to the last and the next day."""
    [target] = panel["targets"]
    since, until = "now() - interval '1 day'", "now() + interval '1 day'"
    query = (
        target["rawSql"]
        .replace("$__timeFrom()", f"({since})")
        .replace("$__timeTo()", f"({until})")
        .replace("$__timeFilter(timestamp)", f"timestamp BETWEEN {since} AND {until}")
        .replace("$__timeGroup(timestamp, $__interval)", "date_trunc('hour', timestamp)")
    )
    cursor = connection.cursor(row_factory=dict_row)
    return cursor.execute(query).fetchall()


def test_the_committed_dashboard_matches_the_generator() -> None:
    pytest.importorskip("grafana_foundation_sdk", reason="requires Python 3.11")
    spec = importlib.util.spec_from_file_location("generate", _GRAFANA / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    assert _COSTS.read_text(encoding="utf-8") == generate.as_json(generate.costs())


def test_the_query_of_every_panel_works(database_url: str) -> None:
    first = replace(row(chat_attributes(tokenledger__feature="search")), cached_tokens=None)
    # Two calls of 1,000 input tokens at $2.50 per million and 100 output tokens at $10.
    second = replace(row(), timestamp=first.timestamp - timedelta(seconds=1))
    unpriced = row(chat_attributes(gen_ai__request__model="an unknown model"))
    failed = row(chat_attributes(error__type="RateLimitError"), failed=True)
    writer = BatchWriter(database_url)
    writer.write([first, second, unpriced, failed])
    writer.close()
    with psycopg.connect(database_url) as connection:
        results = {panel["title"]: _answer(connection, panel) for panel in _panels()}
    assert Decimal(str(results["Cost"][0]["cost_usd"])) == 2 * Decimal("0.0035") + (
        failed.cost_usd or 0
    )
    assert results["Calls"] == [{"calls": 4}]
    assert results["Calls without a cost"] == [{"calls": 1}]
    assert results["Calls lost"] == [{"calls": 0}]
    assert {group["feature"] for group in results["Feature: the 10 most expensive"]} == {
        "search",
        "(none)",
    }
    assert [group["error_type"] for group in results["Errors"]] == ["RateLimitError"]
    assert all(results[title] for title in results)


def test_dashboards_and_provisioning_name_the_same_data_source() -> None:
    source = yaml.safe_load(
        (_GRAFANA / "provisioning/datasources/tokenledger.yaml").read_text(encoding="utf-8")
    )["datasources"][0]
    panel_sources = {
        (target["datasource"]["type"], target["datasource"]["uid"])
        for panel in _panels()
        for target in panel["targets"]
    }
    assert panel_sources == {(source["type"], source["uid"])}


@pytest.mark.parametrize(
    "path", sorted(_GRAFANA.glob("provisioning/**/*.yaml")), ids=lambda path: path.parent.name
)
def test_a_provisioning_file_starts_with_when_to_use_it(path: Path) -> None:
    assert path.read_text(encoding="utf-8").startswith("# When to use it: ")
