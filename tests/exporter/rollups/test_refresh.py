"""Roll-ups equal the calls: late, resent, deduplicated, repriced, purged, erased, dropped."""

from __future__ import annotations

import itertools
from contextlib import closing
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import psycopg
import pytest
from click.testing import CliRunner
from msgspec.structs import replace

from support.call_reports import CallReport
from support.expected_sums import differences
from support.ledger_rows import ask, chat_attributes, row
from tokenledger_exporter.cli import main
from tokenledger_exporter.maintenance.deduplicate import deduplicate_marked
from tokenledger_exporter.maintenance.erase import erase
from tokenledger_exporter.maintenance.purge import purge
from tokenledger_exporter.maintenance.retention import run_retention, set_retention
from tokenledger_exporter.maintenance.runner import MaintenanceRunner
from tokenledger_exporter.rollups import refresh as rollups
from tokenledger_exporter.rollups.verify import verify
from tokenledger_exporter.store.writer import BatchWriter
from tokenledger_semconv import attributes
from tokenledger_semconv.dimensions import DIMENSIONS, ROLLUP_DIMENSIONS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tokenledger_exporter.domain.ledger_row import LedgerRow

ONE_CALL: Final = Decimal("0.0035")  # gpt-4o: 1,000 x 2.50/M + 100 x 10/M
NOW: Final = datetime.now(timezone.utc)
MARKS: Final = "SELECT count(*) FROM token_ledger_rollup_dirty_slices"
USERS: Final = (
    "SELECT value, calls, cost_usd FROM token_ledger_rollup_days"
    " WHERE dimension = 'user' ORDER BY 1"
)
_hours = itertools.count(2)


def refresh(database_url: str) -> rollups.RefreshResult:
    with psycopg.connect(database_url, autocommit=True) as connection:
        return rollups.refresh(connection)


def write(database_url: str, *rows: LedgerRow) -> None:
    with closing(BatchWriter(database_url)) as writer:
        writer.write(rows)


def of(user: str, timestamp: datetime = NOW) -> LedgerRow:
    """The row of a call of a user."""
    return replace(row(chat_attributes() | {attributes.USER_ID: user}), timestamp=timestamp)


def is_exact(database_url: str) -> bool:
    with psycopg.connect(database_url) as connection:
        return differences(connection) == []


def change_late_row(database_url: str) -> None:
    write(database_url, of("ada", NOW - timedelta(hours=next(_hours))))


def change_resent(database_url: str) -> None:
    again = of("bob")
    write(database_url, again, again)
    write(database_url, again)


def change_deduplicated(database_url: str) -> None:
    inner = CallReport()
    outer = inner.around()
    write(database_url, outer.row)
    write(database_url, inner.within(outer).row)
    refresh(database_url)
    with psycopg.connect(database_url) as connection:
        deduplicate_marked(connection)
    assert ask(database_url, "SELECT count(*) FROM token_ledger_duplicates") == [(1,)]


def change_measured(database_url: str) -> None:
    """The report of a call replaces the row that was written when the call was sent."""
    sent = replace(of("ada"), cost_usd=None, cost_status="unmeasured", usage_hash=b"sent")
    write(database_url, sent)
    refresh(database_url)
    write(database_url, replace(of("ada"), event_id=sent.event_id, timestamp=sent.timestamp))


def change_price(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE token_ledger_events SET cost_usd = 0.001, price_id = price_id")
    words = ["reprice", "--since", "7d", "--apply", "--reason", "test"]
    CliRunner().invoke(main, [*words, "--database-url", database_url])


def change_reported(database_url: str) -> None:
    """Two calls whose provider reports a cost, one of them another than ours; then both agree."""
    own = replace(of("ada"), cost_status="reported", reported_cost_usd=of("ada").cost_usd)
    write(database_url, own, replace(of("bob"), reported_cost_usd=Decimal(9)))
    refresh(database_url)
    coverage = "SELECT sum(reported), sum(cost_differs) FROM token_ledger_coverage"
    assert ask(database_url, coverage) == [(1, 1)]
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE token_ledger_events SET reported_cost_usd = cost_usd")
    assert ask(database_url, coverage) == [(1, 0)]


def change_purged(database_url: str) -> None:
    assert purge(database_url, user="ada").events


def change_erased(database_url: str) -> None:
    assert erase(database_url, "ada").events


def change_emptied(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("TRUNCATE token_ledger_events")


@pytest.mark.parametrize(
    "change",
    [
        *(change_late_row, change_resent, change_deduplicated, change_measured, change_price),
        change_reported,
        *(change_purged, change_erased, change_emptied),
    ],
    ids=lambda change: change.__name__.removeprefix("change_"),
)
def test_roll_ups_equal_the_calls_before_and_after_a_refresh(
    database_url: str, change: Callable[[str], None]
) -> None:
    write(database_url, of("ada"), of("bob"), of("ada", NOW - timedelta(hours=5)))
    refresh(database_url)
    assert ask(database_url, USERS)
    change(database_url)
    assert is_exact(database_url)
    refresh(database_url)
    assert ask(database_url, MARKS) == [(0,)]
    assert is_exact(database_url)
    assert verify(database_url) == []


def test_views_read_the_roll_ups_and_not_the_calls(database_url: str) -> None:
    """Otherwise the other tests would prove nothing: a view of the calls is always right."""
    write(database_url, of("ada"))
    refresh(database_url)
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE token_ledger_rollup_days SET cost_usd = 7")
    assert ask(database_url, "SELECT cost_usd FROM token_ledger_user_costs") == [(7,)]
    report = CliRunner().invoke(main, ["report", "--format", "csv", "--database-url", database_url])
    assert ',"7",' in report.stdout


def test_an_erased_user_is_not_in_the_roll_ups_but_the_cost_is(database_url: str) -> None:
    write(database_url, of("ada"), of("ada", NOW - timedelta(hours=3)), of("bob"))
    refresh(database_url)
    pseudonym = erase(database_url, "ada").pseudonym
    for level in rollups.LEVELS:
        table = f"token_ledger_rollup_{level}"
        assert ask(database_url, f"SELECT count(*) FROM {table} WHERE value = 'ada'") == [(0,)]
    sums = "SELECT user_id, sum(calls), sum(cost_usd) FROM token_ledger_user_costs GROUP BY 1"
    assert sorted(ask(database_url, sums)) == sorted(
        [("bob", 1, ONE_CALL), (pseudonym, 2, 2 * ONE_CALL)]
    )
    # A call of the user that arrives later is added to the sums of the pseudonym.
    write(database_url, of("ada"))
    refresh(database_url)
    assert erase(database_url, "ada").pseudonym == pseudonym
    assert verify(database_url) == []


def months_ago(number: int) -> datetime:
    """Noon of the 15th of that month."""
    first = NOW.replace(day=1, hour=12, minute=0, second=0, microsecond=0)
    for _ in range(number):
        first = (first - timedelta(days=1)).replace(day=1)
    return first.replace(day=15)


@pytest.fixture
def ledger_with_dropped_months(database_url: str) -> str:
    """A ledger with one current call, whose calls of five and six months ago were dropped."""
    timestamps = [months_ago(ago) for ago in (6, 5)]
    write(database_url, of("ada"), *(of(user, at) for at in timestamps for user in ("ada", "bob")))
    refresh(database_url)
    # The sums that stay include later changes.
    write(database_url, of("bob", months_ago(6)))
    set_retention(database_url, "4mo")
    assert [month.rows for month in run_retention(database_url)] == [3, 2]
    return database_url


PAST: Final = (
    "SELECT user_id, sum(calls), sum(cost_usd) FROM token_ledger_user_costs"
    " WHERE day < now() - interval '4 months' GROUP BY 1 ORDER BY 1"
)


def test_sums_of_dropped_months_stay(ledger_with_dropped_months: str) -> None:
    final = [("ada", 2, 2 * ONE_CALL), ("bob", 3, 3 * ONE_CALL)]
    assert ask(ledger_with_dropped_months, PAST) == final
    # A call inserted manually, after its month was dropped, does not change the sums.
    month = months_ago(6).date().replace(day=1)
    with psycopg.connect(ledger_with_dropped_months) as connection:
        connection.execute("SELECT token_ledger_add_partitions(%s, %s)", (month, month))
        connection.execute(
            "INSERT INTO token_ledger_events (timestamp, provider, model, user_id, cost_usd,"
            " cost_status) VALUES (%s, 'openai', 'gpt-4o', 'bob', 0.5, 'priced')",
            (months_ago(6),),
        )
    refresh(ledger_with_dropped_months)
    assert ask(ledger_with_dropped_months, PAST) == final
    assert verify(ledger_with_dropped_months) == []
    # When the month is dropped again, the call is added to its sums.
    assert [month.rows for month in run_retention(ledger_with_dropped_months)] == [1]
    assert ask(ledger_with_dropped_months, PAST) == [
        final[0],
        ("bob", 4, 3 * ONE_CALL + Decimal("0.5")),
    ]


def test_a_purge_deletes_sums_of_dropped_months_if_requested(
    ledger_with_dropped_months: str,
) -> None:
    assert purge(ledger_with_dropped_months, user="ada", include_aggregates=False).events == 1
    assert [user for user, *_ in ask(ledger_with_dropped_months, PAST)] == ["ada", "bob"]
    simulated = purge(ledger_with_dropped_months, user="ada", simulate=True)
    assert (simulated.aggregates, simulated.events) == (2, 0)
    # From the middle of the older month on, only the sum of the newer month is deleted.
    later = months_ago(6) + timedelta(minutes=30)
    assert purge(ledger_with_dropped_months, user="ada", time_from=later).aggregates_deleted == 1
    assert ask(ledger_with_dropped_months, PAST)[0] == ("ada", 1, ONE_CALL)
    done = CliRunner().invoke(
        main,
        [
            "purge",
            "--user",
            "ada",
            "--include-aggregates",
            "--database-url",
            ledger_with_dropped_months,
        ],
    )
    assert "1 roll-up of a dropped month" in done.stdout
    assert ask(ledger_with_dropped_months, PAST) == [("bob", 3, 3 * ONE_CALL)]
    # Sums by other dimensions stay, because they do not say which user they belong to.
    everything = "SELECT sum(calls) FROM token_ledger_daily_costs"
    assert ask(ledger_with_dropped_months, everything) == [(5,)]
    assert (
        purge(
            ledger_with_dropped_months, user="bob", where={"model": "gpt-4o"}, simulate=True
        ).aggregates
        == 0
    )
    both = {"operation": "chat", "model": "gpt-4o"}
    assert purge(ledger_with_dropped_months, where=both, simulate=True).aggregates == 2


def test_an_erasure_changes_sums_of_dropped_months(ledger_with_dropped_months: str) -> None:
    pseudonym = erase(ledger_with_dropped_months, "ada").pseudonym
    assert {user for user, *_ in ask(ledger_with_dropped_months, PAST)} == {pseudonym, "bob"}


def test_a_ledger_without_roll_ups_is_exact_while_they_are_built(
    database_url: str,
) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "SELECT token_ledger_add_partitions((now() - interval '2 months')::date, now()::date)"
        )
        connection.execute(
            "INSERT INTO token_ledger_events (timestamp, provider, model, user_id, cost_usd,"
            " cost_status) SELECT now() - number * interval '5 hours', 'p', 'm', 'u' || number % 3,"
            " 0.1, 'priced' FROM generate_series(0, 99) AS number"
        )
        connection.execute("DELETE FROM token_ledger_rollup_dirty_slices")
        connection.execute(
            "UPDATE token_ledger_rollup_state SET since = 'infinity', hot_since = 'infinity'"
        )
    assert is_exact(database_url)
    with psycopg.connect(database_url, autocommit=True) as connection:
        assert rollups.refresh(connection, build=False).days == 0
        assert is_exact(database_url)
        days = rollups.refresh(connection).days
    assert days >= 21, "a hundred calls, five hours apart"
    assert is_exact(database_url)
    assert verify(database_url) == []
    since = "SELECT since = '-infinity' FROM token_ledger_rollup_state"
    assert ask(database_url, since) == [(True,)]


def test_changes_made_by_hand_are_reported_and_repaired(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKENLEDGER_DATABASE_URL", database_url)
    old = NOW - timedelta(days=1)
    write(database_url, of("ada", old), of("bob", old), of("ada"))
    refresh(database_url)

    def run(*words: str) -> Any:  # noqa: ANN401 - click's Result
        return CliRunner().invoke(main, ["doctor", "--verify-rollups", *words])

    clean = run()
    assert (clean.exit_code, clean.stdout) == (
        0,
        "ok    roll-ups: all roll-ups match their calls\n",
    )
    with psycopg.connect(database_url) as connection:
        connection.execute(
            f"DELETE FROM token_ledger_events_{old:%Y_%m} WHERE user_id = 'bob'".encode()
        )
        connection.execute(
            "UPDATE token_ledger_rollup_days SET calls = calls + 3"
            " WHERE dimension = 'team' AND bucket = (now() AT TIME ZONE 'UTC')::date"
        )
    result = run()
    assert result.exit_code == 1
    hour, midnight = f"{old:%Y-%m-%d %H}:00", f"{NOW:%Y-%m-%d} 00:00"
    assert (
        f"fail  roll-ups: hour {hour} user='bob': rolled up as 1 calls ($0.0035), which are 0 ($0)"
        in result.stdout
    )
    assert (
        f"day {midnight} team='' openai/gpt-4o: rolled up as 4 calls ($0.0035),"
        " which are 1 ($0.0035)" in result.stdout
    )
    assert "bob" in run("--repair").stdout
    assert run().exit_code == 0
    assert is_exact(database_url)


def test_a_week_that_differs_from_its_days_is_reported_and_rebuilt(database_url: str) -> None:
    arguments = ["doctor", "--verify-rollups", "--database-url", database_url]
    write(database_url, of("ada", NOW - timedelta(days=9)), of("bob", NOW - timedelta(days=9)))
    refresh(database_url)
    weeks = "SELECT value, calls FROM token_ledger_rollup_weeks WHERE dimension = 'user' ORDER BY 1"
    assert ask(database_url, weeks) == [("ada", 1), ("bob", 1)]
    with psycopg.connect(database_url) as connection:
        connection.execute("DELETE FROM token_ledger_rollup_weeks WHERE value = 'bob'")
    result = CliRunner().invoke(main, arguments)
    assert "user='bob': rolled up as 0 calls ($0), which are 1 ($0.0035)" in result.stdout
    assert "fail  roll-ups: week " in result.stdout
    assert CliRunner().invoke(main, [*arguments, "--repair"]).exit_code == 1
    assert ask(database_url, weeks) == [("ada", 1), ("bob", 1)]
    assert CliRunner().invoke(main, arguments).exit_code == 0


def test_a_maintenance_round_rolls_up_and_drops_months(database_url: str, tmp_path: Path) -> None:
    write(database_url, of("ada"), of("ada", months_ago(6)))
    set_retention(database_url, "4mo", str(tmp_path))
    with MaintenanceRunner(database_url) as runner:
        done = runner.round()
        assert done.troubles == []
        assert (done.rolled_up.slices, done.rolled_up.hours) == (1, 1)
        assert [month.rows for month in done.months] == [1]
        assert len(list(tmp_path.iterdir())) == 1
        assert runner.round().months == []
    assert ask(database_url, MARKS) == [(0,)]


def test_maintenance_continues_after_its_connection_was_cut(database_url: str) -> None:
    with MaintenanceRunner(database_url) as runner:
        runner.round()
        write(database_url, of("ada"))
        cut = (
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        assert ask(database_url, cut) == [(True,)]
        assert runner.round().rolled_up.slices == 1


def test_every_rolled_up_dimension_has_its_sums(database_url: str) -> None:
    write(database_url, of("ada"))
    refresh(database_url)
    rows = ask(database_url, "SELECT DISTINCT dimension FROM token_ledger_rollup_days")
    assert {name for (name,) in rows} == {"", *(dimension.name for dimension in ROLLUP_DIMENSIONS)}
    others = {dimension.name for dimension in DIMENSIONS} - {
        dimension.name for dimension in ROLLUP_DIMENSIONS
    }
    assert others == {"provider", "model", "session"}
