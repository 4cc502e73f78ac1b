"""The JSON API: each number equals the SQL, and each error names its parameter."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from support.dashboard import Dashboard
from support.ledger_rows import ask
from tokenledger_exporter.queries.reader import Reader
from tokenledger_exporter.web.api.endpoint import PREFIX
from tokenledger_exporter.web.api.endpoints import ENDPOINTS
from tokenledger_exporter.web.options import DashboardOptions

if TYPE_CHECKING:
    from collections.abc import Callable

jsonschema: Any = pytest.importorskip("jsonschema")

OLDER_PATHS = (
    *("/summary", "/costs/by-model", "/costs/by-user", "/costs/daily", "/costs/hourly", "/errors"),
    *("/errors/top", "/latency"),
)


NEEDED = {"prices_history": "?provider=openai&model=gpt-4o"}
"""Operation id -> the parameters without which an endpoint has no answer."""


def test_every_endpoint_answers_by_its_schema(dashboard: Dashboard, filled_url: str) -> None:
    with psycopg.connect(filled_url) as connection:
        connection.execute("UPDATE token_ledger_events SET trace_id = repeat('a', 32)")
    [(event_id,)] = ask(filled_url, "SELECT min(event_id::text) FROM token_ledger_events")
    for endpoint in ENDPOINTS:
        path = endpoint.path.replace("{event_id}", event_id).replace("{run_id}", "a" * 32)
        document = dashboard.json(f"{path}{NEEDED.get(endpoint.name, '')}")
        assert schema_faults(document, endpoint.schema) == [], endpoint.path


def schema_faults(document: object, schema: dict[str, Any]) -> list[str]:
    return [
        fault.message for fault in jsonschema.Draft202012Validator(schema).iter_errors(document)
    ]


def test_a_schema_says_that_money_is_text_and_that_each_field_is_there() -> None:
    [summary] = [endpoint.schema for endpoint in ENDPOINTS if endpoint.path == "/summary"]
    faults = schema_faults({"total_cost": 0.35}, summary)
    assert any(fault.startswith("0.35 is not of type 'string', 'null'") for fault in faults)
    assert "'coverage' is a required property" in faults


def test_the_summary_is_exact_and_an_average_is_of_priced_calls(
    dashboard: Dashboard,
) -> None:
    summary = dashboard.json("/summary?days=7")
    assert summary["total_cost"] == "0.35"
    assert (summary["total_requests"], summary["total_tokens"]) == (3, 77)
    assert summary["coverage"]["sentence"] == "coverage: 2 of 3 calls priced (66.6%), 1 unpriced"
    # Of seven days: 0.35 x 30 / 7.
    assert summary["projected_monthly_cost"] == "1.5"
    ann = dashboard.json("/summary?user_id=ann&app_name=shop")
    assert (ann["total_cost"], ann["total_requests"]) == ("0.1", 1)
    # 0.35 / 2: the third call has no price.
    assert summary["avg_cost_per_request"] == "0.175"
    unknown = dashboard.json("/summary?model=acme-7b")
    assert (unknown["total_cost"], unknown["avg_cost_per_request"]) == (None, None)


def test_models_users_days_and_hours_are_those_of_the_ledger(dashboard: Dashboard) -> None:
    models = dashboard.json("/costs/by-model?days=7")
    assert [(row["model"], row["total_cost"]) for row in models] == [
        ("claude-opus-5", "0.25"),
        ("gpt-4o", "0.1"),
        ("acme-7b", None),
    ]
    assert sum(row["percentage_of_total"] for row in models) == pytest.approx(100)
    assert len(dashboard.json("/costs/by-model?limit=1")) == 1
    users = dashboard.json("/costs/by-user")
    assert [(row["user_id"], row["total_cost"]) for row in users] == [
        ("bob", "0.25"),
        ("ann", "0.1"),
    ]
    days = dashboard.json("/costs/daily?days=7&user_id=ann")
    assert [row["total_cost"] for row in days] == ["0.1", None]
    hours = dashboard.json("/costs/hourly?hours=24")
    assert len(hours) == 24
    # The last hour begins up to a minute early.
    assert [hour["total_cost"] for hour in hours[-2:]].count("0.1") == 1


def test_errors_and_latency(dashboard: Dashboard) -> None:
    errors = dashboard.json("/errors")
    assert (errors["total_requests"], errors["errors"]) == (3, 1)
    assert errors["status_breakdown"] == {"success": 2, "error": 1}
    [top] = dashboard.json("/errors/top")
    assert (top["error_type"], top["model"], top["count"]) == ("timeout", "acme-7b", 1)
    latency = dashboard.json("/latency")
    assert (latency["p50_ms"], latency["avg_ms"], latency["requests"]) == (30, 30, 2)
    assert latency["time_to_first_token"]["p50_ms"] is None


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("/forecast?month=2999-01", "month"),
        ("/forecast?method=x", "method"),
        ("/forecast?timezone=Mars", "timezone"),
        ("/forecast/backtest?where=x=1", "where"),
    ],
)
def test_an_invalid_parameter_of_a_forecast_is_named(
    dashboard: Dashboard, query: str, parameter: str
) -> None:
    answer = dashboard.get(PREFIX + query)
    assert (answer.status, answer.json()["parameter"]) == (400, parameter)


def test_a_month_is_forecast(dashboard: Dashboard) -> None:
    forecast = dashboard.json("/forecast?where=team=ml")
    assert (forecast["spent_usd"], forecast["method"]) == ("0.1", "mean30")
    assert forecast["where"] == {"team": ["ml"]}
    assert dashboard.json("/forecast/backtest")["forecasts"] == []


def test_a_report_by_any_dimension_filter_and_period(dashboard: Dashboard) -> None:
    report = dashboard.json("/report?by=team,model&where=user=ann&sort=team")
    assert [(row["team"], row["model"], row["cost_usd"]) for row in report["rows"]] == [
        ("ml", "gpt-4o", "0.1"),
        ("web", "acme-7b", None),
    ]
    either = dashboard.json("/report?by=&where=user=ann&where=user=bob")
    assert either["totals"]["calls"] == 3
    gold = dashboard.json("/report?by=metadata.tier&where=metadata.tier=gold")
    assert [row["cost_usd"] for row in gold["rows"]] == ["0.1"]
    compared = dashboard.json("/report?by=team&since=30h&compare=true")
    changes = {row["team"]: (row["cost_usd"], row["previous_cost_usd"]) for row in compared["rows"]}
    assert changes == {"ml": ("0.1", "0"), "web": ("0", "0.25")}
    empty = dashboard.json("/report?month=2019-01")
    assert (empty["rows"], empty["totals"]["cost_usd"]) == ([], "0")


def test_the_sql_of_a_report_gives_its_numbers(dashboard: Dashboard, filled_url: str) -> None:
    report = dashboard.json("/report?by=team")
    [statement] = (dashboard.json("/report/sql?by=team"))["statements"]
    with psycopg.connect(filled_url) as connection:
        cursor = connection.execute(statement.encode())
        names = [column.name for column in cursor.description or ()]
        rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    costs = {row["label_0"]: Decimal(row["cost_usd"]) for row in rows}
    assert costs == {row["team"]: Decimal(row["cost_usd"]) for row in report["rows"]}


def test_calls_come_page_by_page_each_once(dashboard: Dashboard, filled_url: str) -> None:
    seen: list[str] = []
    path = "/events?limit=2"
    while path:
        page = dashboard.json(path)
        seen += [event["event_id"] for event in page["events"]]
        cursor = page["next_cursor"]
        path = f"/events?limit=2&cursor={cursor}" if cursor else ""
    stored = ask(filled_url, "SELECT event_id::text FROM token_ledger_events ORDER BY timestamp")
    assert seen == [event_id for (event_id,) in stored]
    page = dashboard.json("/events?where=team=ml")
    assert "cost_differs" not in page["coverage"], "a page does not compare costs"
    [ann] = page["events"]
    assert (ann["cost_usd"], ann["metadata"]) == ("0.1", {"tier": "gold"})


def test_a_call_is_explained_by_the_start_of_its_id(dashboard: Dashboard, filled_url: str) -> None:
    [(event_id,)] = ask(
        filled_url, "SELECT event_id::text FROM token_ledger_events WHERE team = 'ml'"
    )
    document = dashboard.json(f"/events/{event_id[:13]}/explain")
    assert (document["event_id"], document["cost_usd"]) == (event_id, "0.1")


def test_prices_are_those_of_a_day(dashboard: Dashboard) -> None:
    sheets = dashboard.json("/prices?provider=openai&model=gpt-4o&at=2026-11-28")
    standard = [row for row in sheets if row["tier"] == "standard" and row["model"] == "gpt-4o"]
    assert [(row["input_usd"], row["output_usd"]) for row in standard] == [("2.5", "10")]


@pytest.mark.parametrize(
    ("path", "status", "parameter", "text"),
    [
        ("/summary?days=0", 400, "days", "days must be a whole number from 1 to 3,660, not '0'"),
        ("/summary?days=1.5", 400, "days", "whole number"),
        ("/summary?days=7&days=8", 400, "days", "given 2 times"),
        ("/summary?dayz=7", 400, "dayz", "did you mean days?"),
        ("/report?by=colour", 400, "by", "unknown dimension 'colour'; use one of provider, model"),
        ("/report?where=colour=red", 400, "where", "unknown dimension 'colour'"),
        ("/report?where=team", 400, "where", "use DIMENSION=VALUE"),
        ("/report?since=soon", 400, "since", "invalid time 'soon'; use one of 7d"),
        ("/report?until=soon", 400, "until", "invalid time"),
        ("/report?since=today&until=2020-01-01", 400, "since", "must be before until"),
        ("/report?month=2026-13", 400, "month", "invalid month"),
        ("/report?timezone=Mars/Olympus", 400, "timezone", "unknown time zone"),
        ("/report?sort=colour", 400, "sort", "use one of cost, calls, tokens, model"),
        ("/report?compare=maybe", 400, "compare", "true or false"),
        ("/report?limit=0", 400, "limit", "1 to 10,000"),
        ("/report?by=" + "x" * 2_000, 400, "by", "longer than 1,024"),
        ("/events?cursor=abc", 400, "cursor", "invalid cursor"),
        ("/events/xyz/explain", 400, "event_id", "invalid event id"),
        ("/events/00000000-0000-0000-0000-000000000000/explain", 404, "event_id", "not found"),
        ("/prices?at=soon", 400, "at", "invalid time"),
    ],
)
def test_an_error_names_its_parameter_and_the_remedy(
    dashboard: Dashboard, path: str, status: int, parameter: str, text: str
) -> None:
    response = dashboard.get(PREFIX + path)
    problem: dict[str, Any] = response.json()
    assert response.headers["content-type"] == "application/problem+json"
    assert (response.status, problem["status"]) == (status, status)
    assert problem["parameter"] == parameter
    assert text in problem["detail"]


@pytest.mark.parametrize(
    ("path", "status", "texts"),
    [
        ("/runs/dddd", 404, ("no trace id begins with 'dddd'", "an earlier 'since'", "kind=trace")),
        ("/runs/x?kind=session", 404, ("no session id begins with 'x'", "kind=session")),
        ("/events/99999999/explain", 404, ("no event id begins with", "the list of calls")),
        ("/events/12/explain", 400, ("invalid event id '12'", "at least eight digits")),
        ("/runs?since=now&until=7d", 400, ("since must be before until",)),
        ("/why?by=day", 400, ("day",)),
    ],
)
def test_an_error_speaks_of_parameters_and_not_of_options_of_the_command_line(
    dashboard: Dashboard, path: str, status: int, texts: tuple[str, ...]
) -> None:
    response = dashboard.get(f"/api/v1{path}")
    detail = response.json()["detail"]
    assert response.status == status
    assert all(text in detail for text in texts), detail
    assert "--" not in detail
    assert "tokenledger " not in detail


def test_every_answer_says_that_its_data_is_a_sample(opened: Callable[..., Dashboard]) -> None:
    sample = opened(notice="Sample data: not yours.")
    for path in ("/summary", "/costs/by-model", "/runs", "/dimensions", "/openapi.json"):
        response = sample.get(f"/api/v1{path}")
        assert response.headers["tokenledger-notice"] == "Sample data: not yours.", path
        document = response.json()
        if isinstance(document, dict) and path != "/openapi.json":
            assert document["notice"] == "Sample data: not yours."
    assert "tokenledger-notice" in sample.get("/calls.csv").headers
    own = opened().get("/api/v1/summary")
    assert "tokenledger-notice" not in own.headers
    assert "notice" not in own.json()


def test_an_unknown_path_says_where_the_paths_are(dashboard: Dashboard) -> None:
    problem = (dashboard.get("/api/v1/nothing")).json()
    assert (problem["status"], "/api/v1/openapi.json" in problem["detail"]) == (404, True)


def test_an_unchanged_answer_is_not_sent_again(dashboard: Dashboard, filled_url: str) -> None:
    first = dashboard.get("/api/v1/costs/by-user")
    tag = first.headers["etag"]
    same = dashboard.get("/api/v1/costs/by-user", **{"if-none-match": f'W/{tag}, "other"'})
    assert (same.status, same.body) == (304, b"")
    with psycopg.connect(filled_url) as connection:
        connection.execute("UPDATE token_ledger_events SET user_id = 'eve' WHERE user_id = 'bob'")
    changed = dashboard.get("/api/v1/costs/by-user", if_none_match=tag)
    assert (changed.status, changed.json()[0]["user_id"]) == (200, "eve")


def test_many_requests_at_once_share_a_few_connections(
    opened: Callable[..., Dashboard], filled_url: str
) -> None:
    dashboard = opened()
    with ThreadPoolExecutor(30) as threads:
        answers = [threads.submit(dashboard.get, "/api/v1/report?by=team") for _ in range(60)]
    assert {answer.result().status for answer in answers} == {200}
    [(connections,)] = ask(
        filled_url,
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND pid <> pg_backend_pid() AND backend_type = 'client backend'",
    )
    assert connections <= 8


def test_a_ledger_that_is_away_is_an_error_and_no_old_figure() -> None:
    options = DashboardOptions(database_url="postgresql://nobody@127.0.0.1:9/none")
    with Dashboard(options) as dashboard:
        response = dashboard.get("/api/v1/summary")
        health = dashboard.get("/health")
    assert (response.status, response.headers["retry-after"]) == (503, "5")
    assert "127.0.0.1:9" in response.json()["detail"]
    assert (health.status, health.json()["database"]) == (503, "unreachable")


def test_the_connection_comes_back_with_the_database(dashboard: Dashboard, filled_url: str) -> None:
    assert dashboard.json("/errors")
    with psycopg.connect(filled_url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    statuses = [(dashboard.get("/api/v1/errors")).status for _ in range(3)]
    assert statuses[-1] == 200
    assert set(statuses) <= {200, 503}


def test_many_who_ask_for_health_share_one_answer_of_the_database(
    dashboard: Dashboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Strangers may ask, so they must not take the connections of those who may look."""
    snapshots: list[str] = []
    snapshot = Reader.snapshot

    def counted(reader: Reader, organization: str = "") -> Any:  # noqa: ANN401 - a context manager
        snapshots.append(organization)
        return snapshot(reader, organization)

    monkeypatch.setattr(Reader, "snapshot", counted)
    with ThreadPoolExecutor(20) as threads:
        answers = [threads.submit(dashboard.get, "/health") for _ in range(200)]
    assert {answer.result().status for answer in answers} == {200}
    # At most one a second: 200 requests take few seconds, also on a busy machine.
    assert 1 <= len(snapshots) < 20


def test_a_statement_that_takes_too_long_is_ended(
    opened: Callable[..., Dashboard], filled_url: str
) -> None:
    dashboard = opened(timeout_seconds=0.2)
    with psycopg.connect(filled_url) as connection:
        connection.execute("LOCK TABLE token_ledger_events IN ACCESS EXCLUSIVE MODE")
        response = dashboard.get("/api/v1/errors/top")
    assert response.status == 503
    assert "too long" in response.json()["detail"]
    assert (dashboard.get("/api/v1/errors/top")).status == 200


def test_an_empty_ledger_costs_nothing(database_url: str) -> None:
    with Dashboard(DashboardOptions(database_url=database_url)) as dashboard:
        statuses = {dashboard.get(PREFIX + path).status for path in OLDER_PATHS}
        summary, health = dashboard.json("/summary"), dashboard.get("/health").json()
    assert (statuses, summary["total_cost"]) == ({200}, "0")
    assert (health["status"], health["database"]) == ("healthy", "connected")
