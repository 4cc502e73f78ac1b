"""The older documents' questions, in SQL and in Python, asked of a ledger with known money.

Four calls: one now, two three days ago, one twenty days ago. The statements are ours; columns,
functions and names are those the documents use.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from end_to_end.money import mtok
from end_to_end.programs import run
from support.ledger_rows import ask
from tokenledger.queries import TokenLedgerQueries
from tokenledger_exporter.demo.scripts import Use

if TYPE_CHECKING:
    from pathlib import Path

    from tokenledger_exporter.demo.provider import DemoProvider

NOW = Decimal("1.25")
DEAR = Decimal("7.5")
CHEAP = Decimal("0.001")
OLD = Decimal(21)
CALLS = [
    # days ago, model, user, organization, feature, team, cost
    (0, "gpt-4o", "ada", "acme", "summarize", "ml", NOW),
    (3, "claude-opus-5", "ben", "acme", "chat", "web", DEAR),
    (3, "gpt-4o", "ada", "bolt", "chat", "web", CHEAP),
    (20, "gpt-4o", "ada", "acme", "summarize", "ml", OLD),
]
INSERT = """
INSERT INTO token_ledger_events
    (timestamp, provider, model, user_id, organization_id, feature, team, cost_usd, cost_status,
     input_tokens, output_tokens, metadata)
VALUES
    (now() - make_interval(days => %s), 'any', %s, %s, %s, %s, %s, %s, 'priced', 100, 10,
     jsonb_build_object('feature', %s::text))
"""


@pytest.fixture
def ledger(database_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A ledger with the four calls; days are those of UTC."""
    monkeypatch.setenv("PGTZ", "UTC")
    monkeypatch.setenv("DATABASE_URL", database_url)
    with psycopg.connect(database_url) as connection:
        for call in CALLS:
            feature = call[4]
            connection.execute(INSERT, (*call, feature))
    return database_url


def day(ago: int) -> Any:  # noqa: ANN401 - a date, as Postgres returns it
    return (datetime.now(timezone.utc) - timedelta(days=ago)).date()


def test_cost_by_day_and_model(ledger: str) -> None:
    question = """
        SELECT DATE(timestamp) AS date, model, SUM(cost_usd) AS cost, COUNT(*) AS requests
        FROM token_ledger_events
        WHERE timestamp >= NOW() - INTERVAL '30 days'
        GROUP BY date, model
        ORDER BY date DESC, cost DESC
    """
    assert ask(ledger, question) == [
        (day(0), "gpt-4o", NOW, 1),
        (day(3), "claude-opus-5", DEAR, 1),
        (day(3), "gpt-4o", CHEAP, 1),
        (day(20), "gpt-4o", OLD, 1),
    ]


def test_cost_by_user_in_a_week(ledger: str) -> None:
    question = """
        SELECT user_id, SUM(cost_usd) AS total_cost, COUNT(*)
        FROM token_ledger_events
        WHERE timestamp > NOW() - INTERVAL '7 days'
        GROUP BY user_id
        ORDER BY total_cost DESC
    """
    assert ask(ledger, question) == [("ben", DEAR, 1), ("ada", NOW + CHEAP, 2)]


def test_the_most_expensive_users_of_a_month(ledger: str) -> None:
    question = """
        SELECT user_id, SUM(cost_usd) AS total_cost, COUNT(*) AS requests
        FROM token_ledger_events
        WHERE timestamp >= NOW() - INTERVAL '30 days'
        GROUP BY user_id
        ORDER BY total_cost DESC
        LIMIT 10
    """
    assert ask(ledger, question) == [("ada", NOW + CHEAP + OLD, 3), ("ben", DEAR, 1)]


def test_cost_by_a_metadata_key(ledger: str) -> None:
    question = """
        SELECT metadata->>'feature' AS feature, SUM(cost_usd) AS cost
        FROM token_ledger_events
        WHERE metadata->>'feature' IS NOT NULL
        GROUP BY metadata->>'feature'
        ORDER BY cost
    """
    assert ask(ledger, question) == [("chat", DEAR + CHEAP), ("summarize", NOW + OLD)]


def test_cost_by_organization(ledger: str) -> None:
    question = """
        SELECT organization_id, COUNT(*) AS requests, SUM(cost_usd) AS cost
        FROM token_ledger_events
        GROUP BY organization_id
        ORDER BY organization_id
    """
    assert ask(ledger, question) == [("acme", 3, NOW + DEAR + OLD), ("bolt", 1, CHEAP)]


def test_cost_by_feature_and_team_in_a_week(ledger: str) -> None:
    question = """
        SELECT feature, team, SUM(cost_usd) AS cost
        FROM token_ledger_events
        WHERE timestamp >= NOW() - INTERVAL '7 days'
        GROUP BY feature, team
        ORDER BY cost DESC
    """
    assert ask(ledger, question) == [("chat", "web", DEAR + CHEAP), ("summarize", "ml", NOW)]


def test_a_month_projected_from_a_week(ledger: str) -> None:
    question = """
        SELECT (SUM(cost_usd) / 7) * 30 AS projected_monthly
        FROM token_ledger_events
        WHERE timestamp >= NOW() - INTERVAL '7 days'
    """
    ((projected,),) = ask(ledger, question)
    assert round(projected, 9) == round((NOW + DEAR + CHEAP) / 7 * 30, 9)


@pytest.mark.parametrize(
    "view",
    [
        *("daily", "user", "model", "feature", "team", "project", "cost_center", "agent"),
        *("endpoint", "organization"),
    ],
)
def test_every_view_has_the_whole_cost(ledger: str, view: str) -> None:
    question = f"SELECT SUM(cost_usd), SUM(calls) FROM token_ledger_{view}_costs"
    assert ask(ledger, question) == [(NOW + DEAR + CHEAP + OLD, 4)]


def test_the_python_answers_of_a_month(ledger: str) -> None:
    queries = TokenLedgerQueries(ledger)
    summary = queries.get_cost_summary(days=30)
    assert (summary.total_cost, summary.total_requests) == (NOW + DEAR + CHEAP + OLD, 4)
    models = [(m.model, m.total_cost, m.total_requests) for m in queries.get_costs_by_model(days=7)]
    assert models == [("claude-opus-5", DEAR, 1), ("gpt-4o", NOW + CHEAP, 2)]
    users = [(u.user_id, u.total_cost) for u in queries.get_costs_by_user(days=30)]
    assert users == [("ada", NOW + CHEAP + OLD), ("ben", DEAR)]
    daily = [(d.date, d.total_cost) for d in queries.get_daily_costs(days=7)]
    assert daily == [(day(0), NOW), (day(3), DEAR + CHEAP)]


@pytest.mark.usefixtures("ledger")
def test_the_python_answers_as_a_script_prints_them(tmp_path: Path) -> None:
    script = tmp_path / "answers.py"
    script.write_text(
        """
from tokenledger.queries import TokenLedgerQueries

asked = TokenLedgerQueries()
month = asked.get_cost_summary(days=30)
print(f"{month.total_cost:.2f} in {month.total_requests}")
for m in asked.get_costs_by_model(days=30):
    print(f"{m.model} {m.total_cost:.2f} {m.total_requests}")
for u in asked.get_costs_by_user(days=30)[:5]:
    print(f"{u.user_id} {u.total_cost:.2f}")
for d in asked.get_daily_costs(days=7):
    print(f"{d.date} {d.total_cost:.2f}")
""",
        encoding="utf-8",
    )
    ended = run(script)
    assert (ended.code, ended.errors) == (0, "")
    assert ended.output.splitlines() == [
        # 1.25 + 7.5 + 0.001 + 21
        "29.75 in 4",
        "gpt-4o 22.25 3",
        "claude-opus-5 7.50 1",
        "ada 22.25",
        "ben 7.50",
        f"{day(0)} 1.25",
        f"{day(3)} 7.50",
    ]


def test_the_first_week_of_a_new_user(
    sdks: DemoProvider, database_url: str, tmp_path: Path
) -> None:
    """Configure, call, ask: `TokenLedgerQueries()` finds what `configure()` was given."""
    sdks.script(Use({"input": 2_000_000, "output": 500_000}))
    script = tmp_path / "week.py"
    script.write_text(
        f"""
import tokenledger
import openai
from tokenledger.queries import TokenLedgerQueries

tokenledger.configure(database_url={database_url!r})
tokenledger.patch_openai()
asked = TokenLedgerQueries()
print(f"Before: ${{asked.get_cost_summary(days=7).total_cost:.2f}}")
openai.chat.completions.create(model="gpt-4o", messages=[{{"role": "user", "content": "Hm?"}}])
tokenledger.flush(timeout=30.0)
print(f"This week: ${{asked.get_cost_summary(days=7).total_cost:.2f}}")
""",
        encoding="utf-8",
    )
    ended = run(script)
    assert (ended.code, ended.errors) == (0, "")
    assert mtok("2.50", 2_000_000) + mtok("10", 500_000) == Decimal(10)
    assert ended.output == "Before: $0.00\nThis week: $10.00\n"
