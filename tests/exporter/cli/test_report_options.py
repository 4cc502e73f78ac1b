"""The period and the order of a report, and the calls it cannot contain yet."""

from __future__ import annotations

import json

import pytest

from support.command_line import fill_ledger, run
from support.spools import HEADER
from tokenledger_exporter.db.connection import fingerprint
from tokenledger_exporter.spool.permissions import spool_folder
from tokenledger_exporter.spool.spool import Spool
from tokenledger_semconv.settings import read_settings

ROWS = """
SELECT token_ledger_add_partitions('2026-08-01', '2026-11-01');
INSERT INTO token_ledger_events
    (timestamp, provider, model, team, user_id, cost_status, cost_usd, input_tokens, output_tokens)
VALUES
    ('2026-09-30T23:59Z', 'openai', 'gpt-4o', 'ml', 'u1', 'priced', 1, 10, 5),
    ('2026-10-01T00:00Z', 'openai', 'gpt-4o', 'ml', 'u2', 'priced', 5, 1, 1),
    ('2026-10-02T12:00Z', 'openai', 'gpt-4o', 'web', 'u1', 'priced', 2, 10, 50),
    ('2026-10-31T23:59Z', 'openai', 'gpt-4o', 'web', 'u3', 'priced', 4, 10, 1),
    ('2026-10-31T23:58Z', 'openai', 'gpt-4o', 'web', 'u3', 'priced', 0.5, 10, 1)
"""


@pytest.fixture
def ledger_url(database_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    return fill_ledger(database_url, ROWS, monkeypatch)


def costs(*words: str) -> dict[tuple[str, ...], str]:
    """The labels of a report in their order, with their costs."""
    result = run("report", "--format", "json", *words)
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    return {
        tuple(row[name] for name in document["by"]): row["cost_usd"] for row in document["rows"]
    }


@pytest.mark.usefixtures("ledger_url")
def test_a_report_until_a_day_includes_that_day() -> None:
    assert costs("--since", "2026-10-31", "--until", "2026-10-31") == {("gpt-4o",): "4.5"}
    assert costs("--month", "2026-10") == {("gpt-4o",): "11.5"}


@pytest.mark.usefixtures("ledger_url")
def test_months_and_days_are_in_order_and_their_groups_by_cost() -> None:
    period = ("--since", "2026-09-01", "--until", "2026-10-31")
    assert list(costs("--by", "team,month", *period)) == [
        ("ml", "2026-09"),
        ("web", "2026-10"),
        ("ml", "2026-10"),
    ]
    assert list(costs("--by", "day", *period, "--limit", "2")) == [("2026-09-30",), ("2026-10-01",)]


@pytest.mark.usefixtures("ledger_url")
def test_a_dimension_may_be_named_by_its_column() -> None:
    result = run("report", "--by", "user_id,team_id", "--month", "2026-10", "--format", "json")
    document = json.loads(result.stdout)
    assert document["by"] == ["user", "team"]
    # u1 and u3 of the team web: 2 + 4 + 0.5
    where = ("--where", "team_id=web", "--where", "user_id=u1", "--where", "user=u3")
    assert costs("--by", "user", "--month", "2026-10", *where) == {("u3",): "4.5", ("u1",): "2"}
    sorted_by_user = costs("--by", "user_id", "--sort", "user_id", "--month", "2026-10")
    assert list(sorted_by_user) == [("u1",), ("u2",), ("u3",)]


@pytest.mark.usefixtures("ledger_url")
@pytest.mark.parametrize(
    ("key", "users"),
    [
        ("cost", ["u2", "u3", "u1"]),
        ("calls", ["u3", "u1", "u2"]),
        ("tokens", ["u1", "u3", "u2"]),
        ("user", ["u1", "u2", "u3"]),
    ],
)
def test_groups_are_sorted_by_any_figure_and_by_their_names(key: str, users: list[str]) -> None:
    words = ["--by", "user", "--month", "2026-10", "--sort", key]
    assert [user for (user,) in costs(*words)] == users
    assert [user for (user,) in costs(*words, "--limit", "2")] == users[:2]
    if key != "cost":
        # The order of a report at other prices is made outside the database.
        assert [user for (user,) in costs(*words, "--as-if", "gpt-4o-mini")] == users


@pytest.mark.usefixtures("ledger_url")
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--sort", "size"), "cannot sort by 'size'; use one of cost, calls, tokens, model"),
        (("--since", "today", "--until", "2026-01-01"), "--since must be before --until"),
        (("--month", "last", "--since", "7d"), "--month and --since cannot be combined"),
        (("--month", "October"), "invalid month 'October'; use 2026-10, last or this"),
    ],
)
def test_what_cannot_be_is_refused(words: tuple[str, ...], message: str) -> None:
    result = run("report", *words)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"tokenledger: {message}")


def test_calls_that_wait_in_the_spool_are_mentioned(ledger_url: str) -> None:
    empty = run("report")
    assert (empty.exit_code, empty.stderr) == (0, "tokenledger: no calls match\n")
    assert run("report", "--format", "json").stderr == ""
    folder = spool_folder(read_settings().spool_dir, fingerprint(ledger_url))
    spool = Spool(folder, HEADER)
    spool.append(b"a call")
    spool.append(b"another call")
    spool.close()
    assert run("report", "--format", "json").stderr == (
        "tokenledger: 2 calls wait in this machine's spool and cannot be seen here yet; "
        "'tokenledger spool drain' writes them to the ledger\n"
    )
    assert "2 calls wait there, 'tokenledger spool drain' writes them" in run("doctor").stdout


@pytest.mark.usefixtures("ledger_url")
def test_a_chart_is_for_people_and_not_in_data() -> None:
    chart = run("report", "--by", "day", "--month", "2026-10", "--chart").stdout
    # 5 on October 1, 2 on October 2, and 4 + 0.5 on October 31.
    assert "|█▄" + " " * 28 + "█|" in chart
    assert "█" in chart.splitlines()[2]
    refused = run("report", "--chart", "--format", "csv")
    assert refused.exit_code == 2
    assert refused.stderr == "tokenledger: --chart draws a table: leave out --format csv\n"
    assert refused.stdout == ""
