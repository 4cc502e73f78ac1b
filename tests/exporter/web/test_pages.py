"""The pages: figures equal the SQL, names of senders are inert, nothing comes from elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from typing_extensions import override

from support.ledger_rows import ask
from tokenledger_exporter.web.pages.charts import bar_chart, round_up
from tokenledger_exporter.web.pages.figures import money

if TYPE_CHECKING:
    from support.dashboard import Dashboard

PAGES = ("/", "/?since=7d", "/explore", "/explore?by=team,model&compare=true", "/calls")
HOSTILE = "<script>alert(1)</script>\u202e\x1b[31m"


@dataclass
class Cell:
    """One table cell: its text, the exact value in it, and where it links to."""

    text: str = ""
    value: str | None = None
    links: list[str] = field(default_factory=list[str])


class PageReader(HTMLParser):
    """The tables, tags and links of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[Cell]] = []
        self.values: list[str] = []
        self.text = ""
        self._cell: Cell | None = None
        self.feed(text)

    @override
    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.tags.append((tag, attributes))
        if tag == "tr":
            self.rows.append([])
        if tag == "td":
            self._cell = Cell()
            self.rows[-1].append(self._cell)
        if tag == "data":
            self.values.append(str(attributes["value"]))
            if self._cell is not None:
                self._cell.value = attributes["value"]
        if tag == "a" and self._cell is not None:
            self._cell.links.append(str(attributes["href"]))

    @override
    def handle_endtag(self, tag: str) -> None:
        if tag == "td":
            self._cell = None

    @override
    def handle_data(self, data: str) -> None:
        self.text += data
        if self._cell is not None:
            self._cell.text += data


def read(dashboard: Dashboard, path: str) -> PageReader:
    response = dashboard.get(path)
    assert response.status == 200, response.body
    return PageReader(response.body.decode())


def test_the_overview_shows_the_cost_of_the_ledger(dashboard: Dashboard, filled_url: str) -> None:
    page = read(dashboard, "/?since=7d")
    [(total,)] = ask(filled_url, "SELECT sum(cost_usd) FROM token_ledger_events")
    assert page.values[0] == str(total) == "0.35"
    assert "coverage: 2 of 3 calls priced (66.6%), 1 unpriced" in page.text
    models = {row[0].text.strip(): row[2].value for row in page.rows if len(row) == 4}
    expected = ask(filled_url, "SELECT model, cost_usd::text FROM token_ledger_events")
    for model, cost in expected:
        assert models[model] == (cost or "")
    days = {row[0].text: Decimal(row[1].value or 0) for row in page.rows if len(row) == 2}
    stored = ask(
        filled_url,
        "SELECT timestamp::date::text, sum(cost_usd) FROM token_ledger_events GROUP BY 1",
    )
    assert len(days) == 8
    for day, cost in stored:
        assert days[day] == (cost or 0)
    assert sum(days.values()) == Decimal("0.35")


def test_explore_shows_what_its_own_sql_gives(dashboard: Dashboard, filled_url: str) -> None:
    page = read(dashboard, "/explore?by=team")
    costs = {row[0].text.strip(): row[2].value for row in page.rows if len(row) > 4}
    [statement] = dashboard.json("/report/sql?by=team")["statements"]
    assert statement.split("\n")[0] in page.text
    with psycopg.connect(filled_url) as connection:
        cursor = connection.execute(statement.encode())
        names = [column.name for column in cursor.description or ()]
        rows: list[dict[str, Any]] = [dict(zip(names, row, strict=True)) for row in cursor]
    assert {row["label_0"]: str(row["cost_usd"]) for row in rows}.items() <= costs.items()
    assert costs["Total"] == "0.35"


def test_a_figure_leads_to_its_calls_and_a_call_to_its_arithmetic(dashboard: Dashboard) -> None:
    page = read(dashboard, "/explore?by=team&since=7d")
    [link] = next(row[0].links for row in page.rows if row and row[0].text.strip() == "ml")
    calls = read(dashboard, link)
    [row] = [row for row in calls.rows if row]
    assert (row[1].text, row[7].value) == ("gpt-4o", "0.1")
    call = read(dashboard, row[0].links[0])
    assert "0.1" in call.values


def test_a_figure_of_a_month_leads_to_the_calls_of_that_month(
    dashboard: Dashboard, filled_url: str
) -> None:
    with psycopg.connect(filled_url) as connection:
        connection.execute("SELECT token_ledger_add_partitions('2026-01-01', '2026-03-01')")
        connection.execute(
            "INSERT INTO token_ledger_events"
            " (timestamp, provider, model, team, cost_status, cost_usd)"
            " VALUES ('2026-02-03Z', 'openai', 'gpt-4o', 'ml', 'priced', 7)"
        )
    page = read(dashboard, "/explore?by=team&month=2026-02")
    [link] = next(row[0].links for row in page.rows if row and row[0].text.strip() == "ml")
    [row] = [row for row in read(dashboard, link).rows if row]
    assert (row[0].text, row[7].value) == ("2026-02-03 00:00:00", "7")


def test_this_month_is_compared_with_a_time_of_its_length_so_far(
    dashboard: Dashboard, filled_url: str
) -> None:
    """The whole month before would make every month look cheap until its end."""
    with psycopg.connect(filled_url) as connection:
        connection.execute("DELETE FROM token_ledger_events")
        connection.execute(
            "SELECT token_ledger_add_partitions((now() - interval '3 months')::date, now()::date)"
        )
        connection.execute(
            "INSERT INTO token_ledger_events (timestamp, provider, model, cost_status, cost_usd)"
            " SELECT start + share * (now() - start) - apart, 'openai', 'gpt-4o', 'priced', cost"
            " FROM date_trunc('month', now(), 'UTC') AS start,"
            " (VALUES (0.5, interval '0', 3), (-0.5, '0', 2), (-1, '5 minutes', 100))"
            " AS calls (share, apart, cost)"
        )
    page = read(dashboard, "/?month=this")
    assert page.values[:2] == ["3", "2"]
    assert "+50% against the period before" in page.text


def test_csv_is_the_report_and_json_the_api(dashboard: Dashboard) -> None:
    response = dashboard.get("/explore.csv?by=team")
    assert response.headers["content-type"] == "text/csv; charset=utf-8"
    assert response.body.decode().splitlines()[0].startswith("team,cost_usd,calls,")
    hrefs = [
        tag[1].get("href") for tag in read(dashboard, "/explore?by=team").tags if tag[0] == "a"
    ]
    assert "/explore.csv?by=team" in hrefs
    assert "/api/v1/report?since=30d&by=team" in hrefs


def test_names_of_senders_are_inert_text(dashboard: Dashboard, filled_url: str) -> None:
    with psycopg.connect(filled_url) as connection:
        connection.execute(
            "UPDATE token_ledger_events SET model = %(name)s, user_id = %(name)s, team = %(name)s,"
            " feature = %(name)s, error_type = %(name)s",
            {"name": HOSTILE},
        )
    for path in PAGES:
        body = dashboard.get(path).body.decode()
        assert "<script>" not in body
        assert "\x1b" not in body
        assert "\u202e" not in body
    [link] = {
        cell.links[0]
        for row in read(dashboard, "/?since=7d").rows
        for cell in row[:1]
        if cell.links and "model%3D" in cell.links[0]
    }
    assert "alert" in read(dashboard, link).text


@pytest.mark.parametrize("path", PAGES)
def test_a_page_needs_nothing_from_elsewhere_and_has_no_inline_code(
    dashboard: Dashboard, path: str
) -> None:
    page = read(dashboard, path)
    for tag, attributes in page.tags:
        assert tag not in {"style", "iframe", "object", "base"}
        assert tag != "script" or (attributes["src"] or "").startswith("/static/")
        assert not any(name.startswith("on") or name == "style" for name in attributes)
        for name in ("src", "href", "action"):
            assert (attributes.get(name) or "/").startswith(("/", "#"))
    assert ("html", {"lang": "en"}) in page.tags
    assert dashboard.get("/static/style.css").headers["content-type"].startswith("text/css")


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("/?since=9x", 400, "invalid time"),
        ("/explore?by=colour", 400, "unknown dimension"),
        ("/calls/xyz", 400, "invalid event id"),
        ("/calls/00000000-0000-0000-0000-000000000000", 404, "not found"),
        ("/nothing", 404, "there is no /nothing"),
        ("/static/../app.py", 404, "there is no"),
        ("/static/%2e%2e/app.py", 404, "there is no"),
    ],
)
def test_an_error_is_a_page_that_says_what_to_do(
    dashboard: Dashboard, path: str, status: int, text: str
) -> None:
    response = dashboard.get(path)
    assert response.status == status
    assert text in PageReader(response.body.decode()).text


def test_an_empty_period_says_so(dashboard: Dashboard) -> None:
    assert "No calls match." in read(dashboard, "/explore?month=2019-01").text
    assert "No calls match." in read(dashboard, "/calls?where=user=nobody").text


@pytest.mark.parametrize(
    ("usd", "text"),
    [
        (None, "unknown"),
        ("0", "$0.00"),
        ("0.000123456", "$0.000123"),
        ("0.0105", "$0.0105"),
        ("19.479212", "$19.4792"),
        ("1234567.891", "$1,234,567.89"),
    ],
)
def test_money_has_digits_that_suit_its_size(usd: str | None, text: str) -> None:
    assert money(usd) == text


def test_a_chart_has_a_bar_for_each_known_value() -> None:
    chart = bar_chart([("a", Decimal("0.3")), ("b", None), ("c", Decimal("0.5"))])
    assert chart.top == Decimal("0.5")
    assert [bar.height for bar in chart.bars] == [108, 0, 180]  # Of 180: 3/5, none, all.
    assert [bar.value for bar in chart.bars] == [Decimal("0.3"), None, Decimal("0.5")]
    assert bar_chart([]).bars == ()


@pytest.mark.parametrize(
    ("value", "top"),
    [("0", "0"), ("0.0031", "0.005"), ("1", "1"), ("1.01", "2"), ("7", "10"), ("99", "100")],
)
def test_the_top_of_a_scale_is_1_2_or_5_times_a_power_of_ten(value: str, top: str) -> None:
    assert round_up(Decimal(value)) == Decimal(top)
