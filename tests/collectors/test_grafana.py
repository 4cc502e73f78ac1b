"""Grafana's dashboards match their generator, and their queries work with any chosen values."""

from __future__ import annotations

import importlib.util
import json
import re
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import psycopg
import pytest
import yaml
from msgspec.structs import replace
from psycopg.conninfo import make_conninfo
from psycopg.rows import dict_row

from collectors.otelcol import CONFIGURATIONS
from support.ledger_rows import chat_attributes, row
from tokenledger_exporter.store.writer import BatchWriter

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_GRAFANA: Final = CONFIGURATIONS / "grafana"
_BOARDS: Final = ("costs", "filters")
_VARIABLE: Final = re.compile(r"\$\{(\w+):sqlstring\}")
_ALL: Final[dict[str, list[str] | None]] = {
    "month": ["time range"],
    "timezone": ["UTC"],
    "team": None,
    "model": None,
    "user": None,
}
"""Chosen values by variable, as a dashboard opens; `None` is all of them."""


def _file(board: str) -> Path:
    return _GRAFANA / "dashboards" / f"{board}.json"


def _document(board: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(_file(board).read_text(encoding="utf-8"))
    return document


def _panels(board: str) -> list[dict[str, Any]]:
    panels: list[dict[str, Any]] = _document(board)["panels"]
    return panels


def _as_grafana_does(query: str, board: str, chosen: Mapping[str, list[str] | None]) -> str:
    """The query with the macros set to the last and the next day, and the variables' values.

    `:sqlstring` quotes each value and joins them with commas; the value for all is as it is.
    """
    all_values = {
        each["name"]: each.get("allValue") for each in _document(board)["templating"]["list"]
    }

    def value(match: re.Match[str]) -> str:
        values = chosen[match[1]]
        if values is None:
            return str(all_values[match[1]])
        return ",".join("'" + each.replace("'", "''") + "'" for each in values)

    now = datetime.now(timezone.utc)
    since, until = (f"'{now + timedelta(days=days):%Y-%m-%dT%H:%M:%SZ}'" for days in (-1, 1))
    return (
        _VARIABLE.sub(value, query)
        .replace("$__timeFrom()", since)
        .replace("$__timeTo()", until)
        .replace("$__timeFilter(timestamp)", f"timestamp BETWEEN {since} AND {until}")
        .replace("$__timeGroup(timestamp, $__interval)", "date_trunc('hour', timestamp)")
    )


def _answers(database_url: str, board: str, **chosen: list[str]) -> dict[str, list[dict[str, Any]]]:
    """The rows of every panel by its title."""
    with psycopg.connect(database_url) as connection:
        cursor = connection.cursor(row_factory=dict_row)
        return {
            panel["title"]: cursor.execute(
                _as_grafana_does(panel["targets"][0]["rawSql"], board, _ALL | chosen).encode()
            ).fetchall()
            for panel in _panels(board)
        }


@pytest.mark.parametrize("board", _BOARDS)
def test_the_committed_dashboard_matches_the_generator(board: str) -> None:
    pytest.importorskip("grafana_foundation_sdk", reason="requires Python 3.11")
    spec = importlib.util.spec_from_file_location("generate", _GRAFANA / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    text = _file(board).read_text(encoding="utf-8")
    assert text == generate.as_json(getattr(generate, board)())


@pytest.mark.parametrize("board", _BOARDS)
def test_a_dashboard_is_what_grafanas_schema_knows(board: str) -> None:
    """Reading it into the schema's types and writing it again loses nothing."""
    sdk, reason = "grafana_foundation_sdk", "requires Python 3.11"
    encoder = pytest.importorskip(f"{sdk}.cog.encoder", reason=reason)
    models = pytest.importorskip(f"{sdk}.models.dashboard", reason=reason)
    document = _document(board)
    read = models.Dashboard.from_json(document)
    again = json.loads(json.dumps(read, cls=encoder.JSONEncoder))
    assert again["templating"] == document["templating"]
    assert [panel["title"] for panel in again["panels"]] == [p["title"] for p in document["panels"]]
    assert again.keys() == document.keys()


def test_the_query_of_every_panel_works(database_url: str) -> None:
    first = replace(row(chat_attributes(tokenledger__feature="search")), cached_tokens=None)
    # Two calls of 1,000 input tokens at $2.50 per million and 100 output tokens at $10.
    second = replace(row(), timestamp=first.timestamp - timedelta(seconds=1))
    unpriced = row(chat_attributes(gen_ai__request__model="an unknown model"))
    failed = row(chat_attributes(error__type="RateLimitError"), failed=True)
    writer = BatchWriter(database_url)
    writer.write([first, second, unpriced, failed])
    writer.close()
    results = _answers(database_url, "costs")
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


def test_days_begin_at_midnight_of_utc_whatever_the_databases_time_zone(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "INSERT INTO token_ledger_events (provider, model, cost_status, cost_usd)"
            " VALUES ('openai', 'gpt-4o', 'priced', 0.1)"
        )
    answers = _answers(make_conninfo(database_url, options="-c TimeZone=Asia/Kolkata"), "costs")
    for title in ("Cost by model and day", "Input read from a cache"):
        midnight = answers[title][0]["time"].astimezone(timezone.utc)
        assert (midnight.hour, midnight.minute) == (0, 0), title


CALLS: Final = """
INSERT INTO token_ledger_events
    (timestamp, provider, model, user_id, team, cost_status, cost_usd, total_tokens)
VALUES
    (now(), 'openai', 'gpt-4o', 'ann', 'ml', 'priced', 0.1, 10),
    (now(), 'openai', 'gpt-4o', 'o''hara', 'ml', 'priced', 0.2, 20),
    (now(), 'openai', 'gpt-4.1', 'ann', 'web', 'priced', 0.4, 40),
    (now(), 'openai', 'acme-7b', '', '', 'unpriced', NULL, 80),
    ('2026-01-31T23:30Z', 'openai', 'gpt-4o', 'ann', 'ml', 'priced', 0.8, 160),
    ('2026-02-28T23:30Z', 'openai', 'gpt-4o', 'ann', 'ml', 'priced', 1.6, 320)
"""


@pytest.fixture
def filled_url(database_url: str) -> str:
    with psycopg.connect(database_url) as connection:
        connection.execute("SELECT token_ledger_add_partitions('2026-01-01', '2026-03-01')")
        connection.execute(CALLS.encode())
    return database_url


class Choice(NamedTuple):
    """What is chosen in a dashboard, and what its panels show."""

    chosen: dict[str, list[str]]
    cost_usd: str | None
    calls: int


@pytest.mark.parametrize(
    "choice",
    [
        Choice({}, "0.7", 4),
        Choice({"team": ["ml"]}, "0.3", 2),
        Choice({"user": ["ann"]}, "0.5", 2),
        Choice({"user": ["o'hara", "ann"], "model": ["gpt-4o"]}, "0.3", 2),
        Choice({"team": ["(none)"]}, None, 1),
        Choice({"team": ["nobody"]}, "0", 0),
        Choice({"month": ["2026-02"]}, "1.6", 1),
        # In Berlin, the last half hour of January is February already, and that of February March.
        Choice({"month": ["2026-02"], "timezone": ["Europe/Berlin"]}, "0.8", 1),
        Choice({"month": ["2026-03"], "timezone": ["Europe/Berlin"]}, "1.6", 1),
    ],
    ids=str,
)
def test_filters_choose_calls_of_a_period_in_any_combination(
    filled_url: str, choice: Choice
) -> None:
    panels = _answers(filled_url, "filters", **choice.chosen)
    [cost] = panels["Cost"]
    usd = None if choice.cost_usd is None else pytest.approx(float(choice.cost_usd))
    assert (cost["cost_usd"], panels["Calls"]) == (usd, [{"calls": choice.calls}])
    for split in ("By team", "By user", "By model", "By feature"):
        assert sum(row["calls"] for row in panels[split]) == choice.calls
    assert len(panels["Newest calls"]) == choice.calls
    months = [row["cost_usd"] for row in panels["Cost by model and month"]]
    assert sum(usd or 0 for usd in months) == pytest.approx(float(choice.cost_usd or 0))


def test_the_variables_list_the_values_of_the_ledger(filled_url: str) -> None:
    variables = {each["name"]: each for each in _document("filters")["templating"]["list"]}
    with psycopg.connect(filled_url) as connection:
        values = {
            name: [value for (value,) in connection.execute(variables[name]["query"].encode())]
            for name in ("month", "team", "model", "user")
        }
    assert values["month"][0] == "time range"
    assert values["month"][-2:] == ["2026-02", "2026-01"]
    assert values["team"] == ["ml", "web", "(none)"]
    assert values["model"] == ["gpt-4o", "gpt-4.1", "acme-7b"]
    assert values["user"] == ["ann", "o'hara", "(none)"]


def test_unknown_costs_are_no_figure(database_url: str) -> None:
    writer = BatchWriter(database_url)
    writer.write([row(chat_attributes(gen_ai__request__model="an unknown model"))])
    writer.close()
    for board in _BOARDS:
        assert _answers(database_url, board)["Cost"] == [{"cost_usd": None}]
    feature = _answers(database_url, "costs")["Feature: the 10 most expensive"]
    assert feature == [{"feature": "(none)", "cost_usd": None}]


def test_dashboards_and_provisioning_name_the_same_data_source() -> None:
    source = yaml.safe_load(
        (_GRAFANA / "provisioning/datasources/tokenledger.yaml").read_text(encoding="utf-8")
    )["datasources"][0]
    panel_sources = {
        (target["datasource"]["type"], target["datasource"]["uid"])
        for board in _BOARDS
        for panel in _panels(board)
        for target in panel["targets"]
    }
    assert panel_sources == {(source["type"], "${datasource}")}
    for board in _BOARDS:
        [variable] = [
            each for each in _document(board)["templating"]["list"] if each["name"] == "datasource"
        ]
        assert (variable["type"], variable["query"]) == ("datasource", source["type"])


@pytest.mark.parametrize(
    "path", sorted(_GRAFANA.glob("provisioning/**/*.yaml")), ids=lambda path: path.parent.name
)
def test_a_provisioning_file_starts_with_when_to_use_it(path: Path) -> None:
    assert path.read_text(encoding="utf-8").startswith("# When to use it: ")
