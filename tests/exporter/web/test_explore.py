"""Explore: every figure of a table equals what the SQL on the page gives."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg.rows import dict_row

from support.page_reader import read
from tokenledger_exporter.queries.measures.measure import MEASURES

if TYPE_CHECKING:
    from support.dashboard import Dashboard

CALLS = """
INSERT INTO token_ledger_events
    (timestamp, provider, model, team, feature, cost_status, cost_usd, status, error_type,
     duration_ms, time_to_first_token_ms, input_tokens, output_tokens, cached_tokens,
     reasoning_tokens, metadata)
SELECT
    now() - n * interval '3 hours', 'openai', 'm' || n % 2, 't' || n % 3, 'f' || n % 4, 'priced',
    n / 1000.0, CASE WHEN n % 5 = 0 THEN 'error' ELSE 'success' END, '', 100 * n, n, 1000 * n, n,
    10 * n, n, jsonb_build_object('plan', 'p' || n % 2)
FROM generate_series(1, 40) AS n
"""
FIGURES = {
    "tokens": ("input_tokens", "cached_tokens", "output_tokens", "reasoning_tokens"),
    "errors": ("errors",),
    "latency": ("measured", "average"),
    "first_token": ("measured", "average"),
    "cache": ("input_tokens", "cached_tokens"),
}
"""Columns of the SQL whose values are on the page as they are."""


@pytest.fixture
def filled(dashboard: Dashboard, filled_url: str) -> Dashboard:
    with psycopg.connect(filled_url) as connection:
        connection.execute("DELETE FROM token_ledger_events")
        connection.execute(CALLS.encode())
    return dashboard


def sql_of(dashboard: Dashboard, path: str) -> list[str]:
    """The statements on a page, as a reader copies them."""
    text = dashboard.get(path).body.decode()
    blocks = re.findall(r"<pre[^>]*>(.*?)</pre>", text, re.DOTALL)
    unescaped = [block.replace("&#39;", "'").replace("&gt;", ">") for block in blocks]
    return [
        block.replace("&lt;", "<").replace("&#34;", '"').replace("&amp;", "&")
        for block in unescaped
    ]


def run(url: str, statement: str) -> list[dict[str, Any]]:
    with psycopg.connect(url) as connection, connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(statement.encode()).fetchall()


@pytest.mark.parametrize("by", ["model", "day", "team,feature", "metadata.plan"])
@pytest.mark.parametrize("measure", MEASURES)
def test_every_figure_is_that_of_the_sql_on_the_page(
    filled: Dashboard, filled_url: str, measure: str, by: str
) -> None:
    path = f"/explore?measure={measure}&by={by}"
    rows = run(filled_url, sql_of(filled, path)[0])
    labels = by.count(",") + 1
    cells = {
        tuple(cell.text.strip() for cell in row[:labels]): row
        for row in read(filled, path).rows
        if len(row) > labels
    }
    groups = [row for row in rows if not row["level"]]
    assert len(cells) == len(groups) + 1
    for row in groups:
        found = cells[tuple(str(row[f"label_{number}"]) for number in range(labels))]
        assert found[labels].text == f"{row['calls']:,}"
        values = {cell.value for cell in found}
        for name in FIGURES[measure]:
            value = row[name]
            assert (repr(value) if isinstance(value, float) else str(value)) in values


def test_percentiles_are_those_of_postgres(filled: Dashboard) -> None:
    """Durations 100 to 4,000 in steps of 100: the median is 2,050, p99 is 100 + 0.99 x 3,900."""
    document = filled.json("/measures?measure=latency&by=")
    assert document["totals"]["p50_ms"] == 2_050
    assert document["totals"]["p99_ms"] == pytest.approx(3_961)
    assert document["rows"] == []
    page = read(filled, "/explore?measure=latency&by=")
    assert "2.05 s" in page.text


def test_costs_over_time_are_split_by_the_dimension_of_the_report(filled: Dashboard) -> None:
    page = read(filled, "/explore?by=team&since=30d")
    [head] = [tag for name, tag in page.tags if name == "figure"]
    assert head["data-chart"] == "bars"
    parts = [row for row in page.rows if row and re.fullmatch(r"\d{4}-\d\d-\d\d", row[0].text)]
    total = sum(Decimal(row[1].value or 0) for row in parts)
    assert total == sum(Decimal(n) for n in range(1, 41)) / 1000 == Decimal("0.82")
    for row in parts:
        assert Decimal(row[1].value or 0) == sum(Decimal(cell.value or 0) for cell in row[2:])


@pytest.mark.parametrize(
    ("by", "is_drawn"),
    [("day", True), ("hour,model", True), ("team,feature", False), ("day,hour", False)],
)
def test_a_chart_is_drawn_of_what_is_over_time(
    filled: Dashboard, by: str, *, is_drawn: bool
) -> None:
    tags = [name for name, _ in read(filled, f"/explore?by={by}").tags]
    assert ("figure" in tags) == is_drawn


def test_two_dimensions_come_from_two_fields_or_one(filled: Dashboard) -> None:
    first = read(filled, "/explore?by=team&by=model").rows
    second = read(filled, "/explore?by=team,model").rows
    assert [[cell.text for cell in row] for row in first] == [
        [cell.text for cell in row] for row in second
    ]


@pytest.mark.parametrize("measure", ["cost", *MEASURES])
def test_csv_and_json_have_the_rows_of_the_page(filled: Dashboard, measure: str) -> None:
    page = read(filled, f"/explore?measure={measure}&by=team")
    links = [tag["href"] or "" for name, tag in page.tags if name == "a"]
    [csv] = [link for link in links if link.startswith("/explore.csv")]
    [api] = [link for link in links if link.startswith("/api/v1/") and "openapi" not in link]
    lines = filled.get(csv).body.decode().splitlines()
    assert lines[0].startswith("team,")
    assert len(lines) == 4
    document = filled.get(api).json()
    assert {row["team"] for row in document["rows"]} == {"t0", "t1", "t2"}


def test_what_the_cache_saved_is_by_the_price_sheet_of_the_calls(
    filled: Dashboard, filled_url: str
) -> None:
    """1,000 cached tokens at $1 instead of $4 a million: $0.003 saved."""
    with psycopg.connect(filled_url) as connection:
        connection.execute("DELETE FROM token_ledger_events")
        connection.execute(
            "INSERT INTO token_ledger_prices (price_id, kind, provider, model, model_pattern,"
            " match_order, usd, per, valid_from, source)"
            " SELECT 'own-1', kind, 'openai', 'mine', '', 1, usd, 1000000, '2020-01-01', 'mine'"
            " FROM (VALUES ('input', 4), ('cached', 1)) AS prices (kind, usd)"
        )
        connection.execute(
            "INSERT INTO token_ledger_events (timestamp, provider, model, team, cost_status,"
            " cost_usd, price_id, input_tokens, output_tokens, cached_tokens, cached_cost_usd)"
            " VALUES (now(), 'openai', 'mine', 'ml', 'priced', 0.005, 'own-1', 2000, 0, 1000,"
            " 0.001)"
        )
    document = filled.json("/measures?measure=cache&by=team")
    [row] = document["rows"]
    assert (row["hit_rate"], row["savings_usd"]) == (0.5, "0.003")
    assert read(filled, "/explore?measure=cache&by=team").values.count("0.003") == 2


def test_a_period_of_centuries_has_no_chart_and_is_answered(filled: Dashboard) -> None:
    """17 million hours are no chart; the table has the hours with calls."""
    page = read(filled, "/explore?by=hour&since=0002-01-01")
    assert "figure" not in [name for name, _ in page.tags]
    assert len([row for row in page.rows if row and row[0].text.startswith("20")]) == 40
    assert "too long for a chart" in read(filled, "/?since=1700-01-01").text


def test_csv_has_the_groups_that_the_page_leaves_out(filled: Dashboard, filled_url: str) -> None:
    with psycopg.connect(filled_url) as connection:
        connection.execute(
            "INSERT INTO token_ledger_events (timestamp, provider, model, user_id, cost_status,"
            " cost_usd) SELECT now(), 'openai', 'm', 'user-' || n, 'priced', 1"
            " FROM generate_series(1, 120) AS n"
        )
    page = read(filled, "/explore?by=user")
    links = [tag["href"] or "" for name, tag in page.tags if name == "a"]
    [csv] = [link for link in links if link.startswith("/explore.csv")]
    lines = filled.get(csv).body.decode().splitlines()
    # 120 users, one line for the calls without a user, and the head.
    assert len(lines) == 122


def test_the_files_of_a_measure_take_its_parameters_alone(filled: Dashboard) -> None:
    """A form that was sorted by cost sends that, too, when another measure is chosen."""
    page = read(filled, "/explore?measure=latency&by=team&sort=calls&compare=true")
    links = [tag["href"] or "" for name, tag in page.tags if name == "a"]
    [api] = [link for link in links if link.startswith("/api/v1/measures")]
    assert filled.get(api).status == 200
