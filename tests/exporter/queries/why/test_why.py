"""`why` over a real ledger: from calls and from roll-ups, and on the command line."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from decimal import Decimal
from typing import TYPE_CHECKING, Final

import psycopg
import pytest

from support.command_line import run
from tokenledger_exporter.errors import InvalidRequestError
from tokenledger_exporter.queries import AsyncTokenLedgerQueries, TokenLedgerQueries
from tokenledger_exporter.rollups import refresh

if TYPE_CHECKING:
    from tokenledger_exporter.queries import Cause, WhyReport

# Calls of the last 7 days and of the 7 days before, at prices that are made up: feature, model,
# user, tier, calls before, calls now.
CALLS: Final = """
INSERT INTO token_ledger_events (
    timestamp, provider, model, feature, user_id, service_tier, cost_status, cost_usd,
    input_tokens, cached_tokens, output_tokens, total_tokens,
    input_cost_usd, cached_cost_usd, output_cost_usd
)
SELECT
    now() - interval '1 hour' - interval '7 days' * period.age - number * interval '1 minute',
    'openai', one.model, one.feature, one.user_id, one.tier, 'priced',
    one.cached * 0.00000125 + (one.input - one.cached) * 0.0000025 + one.output * 0.00001,
    one.input, one.cached, one.output, one.input + one.output,
    (one.input - one.cached) * 0.0000025, one.cached * 0.00000125, one.output * 0.00001
FROM (VALUES
    ('chat', 'gpt-4o', 'u1', '', 1000, 0, 100, 100, 100),
    ('search', 'gpt-4o', 'u2', '', 2000, 1000, 100, 50, 150),
    ('draft', 'gpt-4o', 'u3', 'flex', 3000, 0, 200, 0, 20),
    ('legacy', 'gpt-4o', 'u1', '', 4000, 0, 200, 10, 0)
) AS one (feature, model, user_id, tier, input, cached, output, before, now)
CROSS JOIN (VALUES (1), (0)) AS period (age)
CROSS JOIN LATERAL generate_series(
    1, CASE period.age WHEN 1 THEN one.before ELSE one.now END
) AS number
"""
UNKNOWN: Final = """
INSERT INTO token_ledger_events (timestamp, provider, model, feature, cost_status, input_tokens)
SELECT now() - interval '2 hours', 'acme', 'acme-7b', 'chat', 'unpriced', 500
FROM generate_series(1, 3)
"""


@pytest.fixture
def ledger(database_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("TOKENLEDGER_DATABASE_URL", database_url)
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "SELECT token_ledger_add_partitions((now() - interval '2 months')::date, now()::date)"
        )
        connection.execute(CALLS.encode())
    return database_url


def by_kind(report: WhyReport) -> dict[str, Decimal]:
    return {cause.kind: cause.change_usd for cause in report.causes}


def only(report: WhyReport, kind: str) -> Cause:
    [cause] = [cause for cause in report.causes if cause.kind == kind]
    return cause


# chat: 100 calls at 1,000 x 2.5/M + 100 x 10/M = 0.0035, now 100: no change.
# search: a call costs 1,000 x 2.5/M + 1,000 x 1.25/M + 100 x 10/M = 0.00475; 100 more: 0.475
# draft: 20 new calls at 3,000 x 2.5/M + 200 x 10/M = 0.0095: 0.19
# legacy: 10 calls less at 4,000 x 2.5/M + 200 x 10/M = 0.012: -0.12
EXPECTED: Final = {"calls": Decimal("0.475"), "new": Decimal("0.19"), "lost": Decimal("-0.12")}


@pytest.mark.parametrize("source", ["calls", "roll-ups"])
def test_the_causes_add_up_to_the_difference_of_the_report(ledger: str, source: str) -> None:
    if source == "roll-ups":
        with psycopg.connect(ledger, autocommit=True) as connection:
            refresh.refresh(connection)
    queries = TokenLedgerQueries(ledger)
    report = queries.why(days=7, detail=source == "calls")
    compared = queries.compare_costs("feature", days=7).totals
    assert (report.cost_usd, report.previous_cost_usd) == (
        compared.cost_usd,
        compared.previous_cost_usd,
    )
    assert report.change_usd == compared.change_usd == sum(EXPECTED.values())
    assert by_kind(report) == EXPECTED
    assert [cause.kind for cause in report.causes] == ["calls", "new", "lost"]
    assert [driver.value for driver in only(report, "calls").drivers] == ["search"]
    assert (report.calls, report.previous_calls) == (270, 160)
    assert asyncio.run(AsyncTokenLedgerQueries(ledger).why(days=7, detail=False)).causes == (
        report.causes if source == "roll-ups" else queries.why(days=7, detail=False).causes
    )


def test_users_are_compared_too_and_filters_apply(ledger: str) -> None:
    report = TokenLedgerQueries(ledger).why("user_id", where={"model": "gpt-4o"})
    assert report.by == "user"
    assert [d.value for d in only(report, "new").drivers] == ["u3"]
    assert report.change_usd == sum(by_kind(report).values(), Decimal(0))
    assert TokenLedgerQueries(ledger).why(where={"feature": "draft"}).change_usd == Decimal("0.19")


def test_roll_ups_and_calls_agree_where_both_have_the_answer(ledger: str) -> None:
    with psycopg.connect(ledger, autocommit=True) as connection:
        connection.execute(
            "UPDATE token_ledger_events SET cost_usd = cost_usd / 2, input_cost_usd = "
            "input_cost_usd / 2, output_cost_usd = output_cost_usd / 2 WHERE feature = 'chat' AND "
            "timestamp > now() - interval '7 days'"
        )
        refresh.refresh(connection)
    queries = TokenLedgerQueries(ledger)
    detailed, summed = queries.why(detail=True), queries.why(detail=False)
    # 100 calls at half of 0.0035
    assert by_kind(detailed)["price"] == by_kind(summed)["rate"] == Decimal("-0.175")
    assert by_kind(detailed).keys() - by_kind(summed).keys() == {"price"}
    assert (detailed.is_detailed, summed.is_detailed) == (True, False)
    assert any("the option 'detail' does" in note for note in summed.notes)
    [driver] = only(detailed, "price").drivers
    assert (driver.value, driver.model) == ("chat", "gpt-4o")


def test_calls_without_a_known_cost_are_named_in_the_coverage(ledger: str) -> None:
    with psycopg.connect(ledger) as connection:
        connection.execute(UNKNOWN.encode())
    report = TokenLedgerQueries(ledger).why()
    assert report.coverage.unpriced == 3
    assert report.previous_coverage.unpriced == 0
    # 3 more calls of chat at 0.0035 are expected, and none of them has a known cost.
    assert only(report, "coverage").change_usd == Decimal("-0.0105")
    assert by_kind(report)["calls"] == Decimal("0.4855")
    assert report.change_usd == sum(EXPECTED.values())
    assert any("without a known cost" in note for note in report.notes)


def test_two_periods_without_a_known_cost_have_no_difference(ledger: str) -> None:
    with psycopg.connect(ledger) as connection:
        connection.execute(
            "UPDATE token_ledger_events SET cost_usd = NULL, cost_status = 'unpriced' "
            "WHERE timestamp < now() - interval '7 days'"
        )
    report = TokenLedgerQueries(ledger).why()
    assert (report.known_previous_cost_usd, report.change_usd, report.causes) == (None, None, ())
    done = run("why")
    assert "cost unknown" in done.stdout
    assert "there is no difference" in done.stderr


def test_calls_that_retention_removed_are_a_cause_of_their_own(ledger: str) -> None:
    """Their sums stay, but not by session."""
    with psycopg.connect(ledger, autocommit=True) as connection:
        refresh.refresh(connection)
        connection.execute(
            "UPDATE token_ledger_rollup_state SET frozen_before = date_trunc('day', now() - "
            "interval '6 days')"
        )
        connection.execute(
            "DELETE FROM token_ledger_events WHERE timestamp < now() - interval '7 d'"
        )
        connection.execute(
            "DELETE FROM token_ledger_rollup_dirty_slices WHERE bucket < now() - interval '7 d'"
        )
    report = TokenLedgerQueries(ledger).why("session")
    assert by_kind(report)["removed"] == -report.previous_cost_usd
    assert sum(by_kind(report).values()) == report.change_usd
    assert any("retention" in note for note in report.notes)
    # By feature, the roll-ups have all of it.
    assert by_kind(TokenLedgerQueries(ledger).why(detail=True)) == EXPECTED


def test_an_unknown_dimension_and_a_period_are_refused(ledger: str) -> None:
    queries = TokenLedgerQueries(ledger)
    with pytest.raises(InvalidRequestError, match="unknown dimension 'color'; use one of provider"):
        queries.why("color")
    with pytest.raises(InvalidRequestError, match=r"cannot compare by 'day'.* use one of provider"):
        queries.why("day")


def test_an_empty_ledger_has_no_causes(database_url: str) -> None:
    report = TokenLedgerQueries(database_url).why()
    assert (report.causes, report.change_usd) == ((), Decimal(0))


@pytest.mark.usefixtures("ledger")
def test_the_command_prints_every_format() -> None:
    table = run("why", "--since", "7d")
    assert table.exit_code == 0, table.stderr
    assert "search +0.4750 (50 to 150)" in table.stdout
    assert "difference" in table.stdout
    assert "preceding period: 160 of 160 calls priced" in table.stdout
    document = json.loads(run("why", "--format", "json").stdout)
    assert document["change_usd"] == "0.545"
    assert {each["cause"]: each["change_usd"] for each in document["causes"]} == {
        kind: str(change) for kind, change in EXPECTED.items()
    }
    assert document["causes"][0]["drivers"] == [
        {"feature": "search", "change_usd": "0.475", "before": "50", "after": "150"}
    ]
    rows = list(csv.DictReader(io.StringIO(run("why", "--format", "csv").stdout)))
    assert sum(Decimal(row["change_usd"]) for row in rows) == Decimal("0.545")
    assert "| number of calls | 0.475 |" in run("why", "--format", "md").stdout
    by_model = csv.DictReader(io.StringIO(run("why", "--by", "model", "--format", "csv").stdout))
    assert "value_of_model" in (by_model.fieldnames or ())


def test_hostile_names_are_escaped(ledger: str) -> None:
    with psycopg.connect(ledger) as connection:
        connection.execute("UPDATE token_ledger_events SET feature = E'a\\x1b[31m|<b>'")
    for shape in ("table", "csv", "md"):
        assert "\x1b" not in run("why", "--format", shape).stdout
    assert "\\|\\<b\\>" in run("why", "--format", "md").stdout


def test_the_shown_sql_runs_as_it_is(ledger: str) -> None:
    printed = run("why", "--show-sql", "--where", "feature=chat").stdout
    assert "FROM token_ledger_events" in printed
    with psycopg.connect(ledger) as connection:
        for statement in printed.split(";\n"):
            connection.execute(statement.encode())
