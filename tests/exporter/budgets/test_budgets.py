"""Budgets from the command line, Python and SQL: definitions, sums, corrections and erasure."""

from __future__ import annotations

import asyncio
import json
import threading
from contextlib import closing
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from msgspec.structs import replace
from psycopg import errors as pg_errors

from support.command_line import run
from support.ledger_rows import ask, chat_attributes, row
from support.ledgers import eventually
from tokenledger_exporter.budgets import async_budgets, budgets
from tokenledger_exporter.budgets.results import BudgetStatus
from tokenledger_exporter.domain.budget import Budget
from tokenledger_exporter.errors import InvalidRequestError
from tokenledger_exporter.maintenance.erase import erase
from tokenledger_exporter.maintenance.purge import purge
from tokenledger_exporter.maintenance.runner import MaintenanceRunner
from tokenledger_exporter.store.budget_charges import BudgetCharges
from tokenledger_exporter.store.budget_recount import Recount, recount, recount_due
from tokenledger_exporter.store.writer import BatchWriter
from tokenledger_semconv import attributes
from tokenledger_semconv.dimensions import DIMENSIONS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tokenledger_exporter.domain.ledger_row import LedgerRow

# 1,000 input tokens at $2.50 and 100 output tokens at $10 per million.
ONE_CALL = Decimal("2.5") * 1_000 / 1_000_000 + Decimal(10) * 100 / 1_000_000


@pytest.fixture
def url(database_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("TOKENLEDGER_DATABASE_URL", database_url)
    return database_url


def call_of(user: str = "ada", team: str = "ml", at: datetime | None = None) -> LedgerRow:
    one = row(chat_attributes() | {attributes.USER_ID: user, attributes.TEAM: team})
    return one if at is None else replace(one, timestamp=at)


class BudgetReader:
    """The reservations of a process that reserves nothing."""

    holder = ""

    def of_row(self, row: LedgerRow) -> None:
        pass

    def free(self, rows: Iterable[LedgerRow]) -> None:
        pass

    def note_budgets(self, budgets: Sequence[Budget], *, is_changed: bool) -> None:
        pass


def is_waiting(url: str) -> bool:
    """Whether a connection waits for a lock."""
    waiting = (
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    return ask(url, waiting) == [(1,)]


def write(url: str, *rows: LedgerRow) -> None:
    with closing(BatchWriter(url)) as writer:
        writer.write(rows)


def status_of(url: str, name: str = "b") -> dict[str, tuple[Decimal, int]]:
    """Value -> what was spent, and the number of calls."""
    return {each.value: (each.spent_usd, each.calls) for each in budgets.budget_status(url, name)}


def test_a_budget_is_set_shown_changed_paused_and_deleted(url: str) -> None:
    write(url, call_of(), call_of(team="other"))
    words = ("--where", "team=ml", "--limit", "500", "--timezone", "Europe/Berlin")
    done = run("budget", "set", "team-ml", *words, "--warn", "100,50,80%")
    assert done.stdout.splitlines()[0] == (
        "team-ml: $500 per month (Europe/Berlin), team=ml; refuses calls at the limit; warns at "
        "50%, 80%, 100%"
    )
    assert "$0.0035 spent in 1 call, $0 reserved, $499.9965 left of $500" in done.stdout
    assert "$600 per month" in run("budget", "set", "team-ml", "--limit", "600").stdout
    assert "paused" in run("budget", "pause", "team-ml").stdout
    assert "paused" not in run("budget", "resume", "team-ml").stdout
    assert "team-ml" in run("budget", "list").stdout
    [account] = json.loads(run("budget", "status", "--format", "json").stdout)["rows"]
    assert (account["spent_usd"], account["left_usd"]) == ("0.0035", "599.9965")
    run("budget", "delete", "team-ml")
    assert run("budget", "list").stdout == "no budget is set: run 'tokenledger budget set'\n"
    history = json.loads(run("budget", "history", "--format", "json").stdout)["rows"]
    actions = ["deleted", "resumed", "paused", "changed", "set"]
    assert [change["action"] for change in history] == actions
    assert ask(url, "SELECT count(*) FROM token_ledger_budget_accounts") == [(0,)]


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("--limit", "0"), "invalid limit '0': use US dollars above 0, such as 500 or 0.50"),
        (("--limit", "-1"), "invalid limit '-1'"),
        (("--limit", "NaN"), "invalid limit 'NaN'"),
        (("--limit", "fifty"), "invalid limit 'fifty'"),
        (("--limit", "Infinity"), "invalid limit 'Infinity'"),
        ((), "budget 'b' is new and needs a limit, such as --limit 500"),
        (("--limit", "1", "--where", "nope=1"), "unknown dimension 'nope'; use one of provider"),
        (("--limit", "1", "--where", "team"), "invalid filter 'team': use DIMENSION=VALUE"),
        (("--limit", "1", "--each", "day"), "unknown dimension 'day'; use one of provider"),
        (("--limit", "1", "--per", "fortnight"), "unknown period 'fortnight'; use one of hour"),
        (("--limit", "1", "--per", "400d"), "unknown period '400d'"),
        (("--limit", "1", "--timezone", "Mars"), "unknown time zone 'Mars'"),
        (("--limit", "1", "--warn", "50,x"), "invalid warning 'x': use percentages from 1 to"),
        (("--limit", "1", "--action", "stop"), "unknown action 'stop'; use one of block, alert"),
        (("--limit", "1", "--unpriced", "x"), "unknown unpriced 'x'; use one of allow, refuse"),
        (("--limit", "1", "--on-outage", "x"), "unknown on-outage 'x'; use one of allow, refuse"),
        (("--limit", "1", "--per", "run", "--each", "user"), "--per run has one limit per trace"),
    ],
)
def test_bad_input_names_the_thing_and_the_remedy(
    url: str, words: tuple[str, ...], error: str
) -> None:
    done = run("budget", "set", "b", *words)
    assert done.exit_code == 2
    assert error in done.stderr
    assert budgets.list_budgets(url) == []


def test_a_name_that_is_unknown_or_invalid_is_named(url: str) -> None:
    budgets.set_budget(url, "one", limit=1)
    for words in (("show", "two"), ("status", "two"), ("pause", "two"), ("delete", "two")):
        done = run("budget", *words)
        assert (done.exit_code, "unknown budget 'two'; use one of one" in done.stderr) == (2, True)
    assert "invalid budget name 'a b'" in run("budget", "set", "a b", "--limit", "1").stderr


def test_sql_refuses_what_the_command_line_refuses(url: str) -> None:
    for columns in (
        "(name, limit_usd) VALUES ('b', 0)",
        "(name, limit_usd) VALUES ('b', 'NaN')",
        "(name, limit_usd) VALUES ('b', 'Infinity')",
        "(name, limit_usd, timezone) VALUES ('b', 1, 'Mars')",
        "(name, limit_usd, each) VALUES ('b', 1, 'nope')",
        """(name, limit_usd, filters) VALUES ('b', 1, '{"team": "ml"}')""",
        "(name, limit_usd, period) VALUES ('b', 1, 'rolling')",
    ):
        with pytest.raises((pg_errors.CheckViolation, pg_errors.InvalidParameterValue)):
            ask(url, f"INSERT INTO token_ledger_budgets {columns} RETURNING 1")
    for dimension in (*(each.name for each in DIMENSIONS), "trace", "metadata.plan"):
        name = dimension.replace(".", "-")
        columns = f"(name, limit_usd, each) VALUES ('{name}', 1, '{dimension}')"
        ask(url, f"INSERT INTO token_ledger_budgets {columns} RETURNING 1")


def test_a_budget_counts_the_calls_before_it_and_every_commit(url: str) -> None:
    write(url, call_of("ada"), call_of("ada"), call_of("bob"), call_of(""))
    budgets.set_budget(url, "b", each="user", limit=1)
    assert status_of(url) == {"ada": (2 * ONE_CALL, 2), "bob": (ONE_CALL, 1)}
    write(url, call_of("bob"), call_of("eve"))
    assert status_of(url) == {
        "ada": (2 * ONE_CALL, 2),
        "bob": (2 * ONE_CALL, 2),
        "eve": (ONE_CALL, 1),
    }


def test_a_row_that_is_sent_again_is_charged_once(url: str) -> None:
    budgets.set_budget(url, "b", limit=1)
    one = call_of()
    write(url, one)
    write(url, one, call_of())
    assert status_of(url) == {"": (2 * ONE_CALL, 2)}


def test_a_maintenance_round_corrects_what_a_purge_removed(url: str) -> None:
    budgets.set_budget(url, "b", limit=1)
    write(url, call_of("ada"), call_of("bob"))
    purge(url, where={"user": "bob"})
    assert status_of(url) == {"": (2 * ONE_CALL, 2)}
    ask(url, "UPDATE token_ledger_budgets SET recounted_at = NULL RETURNING 1")
    with MaintenanceRunner(url) as runner:
        done = runner.round().recounted
    assert (done.budgets, done.accounts, done.wrong_usd) == (1, 1, ONE_CALL)
    assert status_of(url) == {"": (ONE_CALL, 1)}


def test_a_recount_while_calls_are_committed_loses_none(url: str) -> None:
    budget = budgets.set_budget(url, "b", limit=1)
    write(url, call_of())
    rows = [call_of() for _ in range(200)]
    with closing(BatchWriter(url)) as writer, psycopg.connect(url, autocommit=True) as connection:
        thread = threading.Thread(target=lambda: [writer.write([each]) for each in rows])
        thread.start()
        while thread.is_alive():
            recount(connection, budget)
        thread.join()
    assert status_of(url) == {"": (201 * ONE_CALL, 201)}


def test_windows_start_in_their_time_zone_and_hours_are_never_merged(url: str) -> None:
    def window(period: str, at: str, days: int | None = None) -> tuple[str, str]:
        with psycopg.connect(url) as connection:
            [(start, end)] = connection.execute(
                "SELECT * FROM token_ledger_budget_window(%s, %s, 'Europe/Berlin', %s)",
                [period, days, at],
            ).fetchall()
        utc = timezone.utc
        return f"{start.astimezone(utc):%m-%d %H:%M}", f"{end.astimezone(utc):%m-%d %H:%M}"

    # On 2026-10-25, 02:00 to 03:00 happens twice in Berlin: at 00:00 and at 01:00 UTC.
    assert window("hour", "2026-10-25 00:30+00") == ("10-25 00:00", "10-25 01:00")
    assert window("hour", "2026-10-25 01:30+00") == ("10-25 01:00", "10-25 02:00")
    assert window("day", "2026-10-25 12:00+00") == ("10-24 22:00", "10-25 23:00")
    assert window("month", "2026-10-25 12:00+00") == ("09-30 22:00", "10-31 23:00")
    assert window("week", "2026-10-25 12:00+00") == ("10-18 22:00", "10-25 23:00")
    assert window("rolling", "2026-10-25 12:00+00", 30) == ("09-25 22:00", "10-25 23:00")
    # On 2026-03-29, 02:00 to 03:00 does not happen.
    assert window("day", "2026-03-29 12:00+00") == ("03-28 23:00", "03-29 22:00")


def test_only_the_calls_of_the_period_count(url: str) -> None:
    now = datetime.now(timezone.utc)
    days_ago = [now - timedelta(days=days) for days in (0, 1, 2, 3, 40)]
    write(url, *(call_of(at=at) for at in days_ago))
    budgets.set_budget(url, "b", limit=1, per="3d")
    assert status_of(url) == {"": (3 * ONE_CALL, 3)}
    budgets.set_budget(url, "b", per="day")
    assert status_of(url) == {"": (ONE_CALL, 1)}
    budgets.set_budget(url, "b", per="total")
    assert status_of(url) == {"": (5 * ONE_CALL, 5)}


def test_an_erased_person_is_in_no_budget(url: str) -> None:
    budgets.set_budget(url, "b", each="user", limit=1)
    budgets.set_budget(url, "hers", where={"user": "ada@example.com"}, limit=1)
    write(url, call_of("ada@example.com"))
    with psycopg.connect(url) as connection:
        connection.execute(
            """SELECT * FROM token_ledger_reserve('h', '{"user": "ada@example.com"}', 5)"""
        )
    pseudonym = erase(url, "ada@example.com").pseudonym
    assert status_of(url) == {pseudonym: (ONE_CALL, 1)}
    [hers] = [each for each in budgets.list_budgets(url) if each.name == "hers"]
    assert hers.filters == {"user": (pseudonym,)}
    write(url, call_of("ada@example.com"))
    assert status_of(url) == {pseudonym: (2 * ONE_CALL, 2)}
    with psycopg.connect(url) as connection:
        [answer] = connection.execute(
            """SELECT value FROM token_ledger_reserve('h', '{"user": "ada@example.com"}', 0.1)
            WHERE budget = 'b'"""
        ).fetchall()
    assert answer == (pseudonym,)
    budget_tables = ("budget_accounts", "budget_buckets", "budget_holds", "budget_changes")
    for table in (*budget_tables, "refusals"):
        rows = ask(url, f"SELECT t::text FROM token_ledger_{table} AS t")
        assert not [text for (text,) in rows if "ada@" in text], table


def test_an_erased_person_leaves_a_team_of_the_same_name_alone(url: str) -> None:
    budgets.set_budget(url, "teams", each="team", limit=1)
    budgets.set_budget(url, "ml", where={"team": "ml"}, limit=1)
    write(url, call_of())
    for user in ("ml", "team", "month"):
        erase(url, user)
    write(url, call_of())
    assert status_of(url, "teams") == {"ml": (2 * ONE_CALL, 2)}
    assert status_of(url, "ml") == {"": (2 * ONE_CALL, 2)}
    assert {change.definition["period"] for change in budgets.budget_history(url)} == {"month"}


def test_a_budget_that_names_an_erased_person_keeps_its_sums(url: str) -> None:
    budgets.set_budget(url, "hers", where={"user": ["ada", "bob"], "team": "ml"}, limit=1)
    write(url, call_of())
    pseudonym = erase(url, "ada").pseudonym
    assert budgets.show_budget(url, "hers").filters["user"] == (pseudonym, "bob")
    assert status_of(url, "hers") == {"": (ONE_CALL, 1)}


def test_a_person_is_erased_again_after_calls_in_flight_used_the_id(url: str) -> None:
    budgets.set_budget(url, "b", each="user", limit=1)
    write(url, call_of())
    pseudonym = erase(url, "ada").pseudonym
    with psycopg.connect(url) as connection:
        for columns, values in (
            ("accounts (budget_id, value)", "budget_id, 'ada'"),
            (
                "buckets (budget_id, value, starts_at, spent_usd, calls)",
                "budget_id, 'ada', date_trunc('month', now(), 'UTC'), 0.5, 3",
            ),
        ):
            connection.execute(
                f"INSERT INTO token_ledger_budget_{columns}"
                f" SELECT {values} FROM token_ledger_budgets".encode()
            )
    assert erase(url, "ada").pseudonym == pseudonym
    assert status_of(url) == {pseudonym: (ONE_CALL + Decimal("0.5"), 1 + 3)}


def test_a_change_that_commits_late_is_seen(url: str) -> None:
    new = "INSERT INTO token_ledger_budgets (name, limit_usd) VALUES (%s, 1)"
    seen: list[int] = []

    class Reader(BudgetReader):
        def note_budgets(self, budgets: Sequence[Budget], *, is_changed: bool) -> None:
            seen.append(len(budgets) if is_changed else -1)

    charges = BudgetCharges(Reader())
    with psycopg.connect(url) as late, psycopg.connect(url, autocommit=True) as other:
        late.execute(new, ("first",))
        other.execute(new, ("second",))
        charges.refresh(other)
        late.commit()
        charges.refresh(other)
        charges.refresh(other)
    assert seen == [1, 2, -1]


def test_two_changes_at_once_are_both_kept(url: str) -> None:
    budgets.set_budget(url, "b", limit=100)
    with psycopg.connect(url) as connection:
        connection.execute("UPDATE token_ledger_budgets SET limit_usd = 5")
        thread = threading.Thread(target=lambda: budgets.set_budget(url, "b", warn="90"))
        thread.start()
        assert eventually(lambda: is_waiting(url))
        connection.commit()
        thread.join()
    budget = budgets.show_budget(url, "b")
    assert budget.limit_usd == Decimal(5)
    assert budget.warn_percents == (90,)


def test_a_recount_that_waits_for_a_change_locks_no_call_and_counts_nothing_old(url: str) -> None:
    budget = budgets.set_budget(url, "b", limit=1)
    write(url, call_of())
    counted: list[Recount] = []

    def count() -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            counted.append(recount(connection, budget))

    with psycopg.connect(url) as connection:
        connection.execute('UPDATE token_ledger_budgets SET filters = \'{"team": ["other"]}\'')
        thread = threading.Thread(target=count)
        thread.start()
        assert eventually(lambda: is_waiting(url))
        connection.execute("SELECT FROM token_ledger_budget_accounts FOR UPDATE NOWAIT")
        connection.commit()
        thread.join()
    assert counted == [Recount()]
    assert status_of(url) == {"": (Decimal(0), 0)}


def test_a_change_in_sql_is_counted_by_the_next_maintenance_round(url: str) -> None:
    budgets.set_budget(url, "b", limit=1)
    write(url, call_of())
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("UPDATE token_ledger_budgets SET timezone = 'Europe/Berlin'")
        assert recount_due(connection).wrong_usd == ONE_CALL
    assert status_of(url) == {"": (ONE_CALL, 1)}


@pytest.mark.parametrize("amount", ["-1", "NaN", "Infinity"])
def test_a_writer_adds_only_sums_that_calls_have(url: str, amount: str) -> None:
    charge = "SELECT token_ledger_charge_budgets({})"
    spent = "'{1}', ARRAY[''], '{1}', ARRAY[%s]::numeric[], '{0}', '{0}', '{1}', '{0}', '{0}',"
    none = "'{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}',"
    statements = [
        charge.replace("{}", f"{spent} '', '{{}}', '{{}}', '{{}}', '{{}}'"),
        charge.replace("{}", f"{none} 'h', '{{1}}', ARRAY[''], ARRAY[%s]::numeric[], '{{}}'", 1),
        "SELECT token_ledger_keep_leases('h', '{1}', ARRAY[''], ARRAY[%s]::numeric[], '1 minute')",
    ]
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            with pytest.raises(pg_errors.InvalidParameterValue, match="0 or more"):
                connection.execute(statement.encode(), (amount,))


def test_a_lease_has_an_end(url: str) -> None:
    keep = "SELECT token_ledger_keep_leases('h', '{}', '{}', '{}', %s)"
    with psycopg.connect(url, autocommit=True) as connection:
        for lifetime in ("1000 years", "-1 minute"):
            with pytest.raises(pg_errors.InvalidParameterValue, match="a second to a day"):
                connection.execute(keep, (lifetime,))


def test_the_clock_of_the_app_decides_the_period_of_its_calls(url: str) -> None:
    budgets.set_budget(url, "b", per="hour", limit=ONE_CALL)
    ahead = datetime.now(timezone.utc) + timedelta(hours=1)
    write(url, call_of(at=ahead))
    reserve = "SELECT is_refused FROM token_ledger_reserve('h', '{}', %s, at => %s)"
    with psycopg.connect(url) as connection:
        for at, is_refused in ((ahead, True), (datetime.now(timezone.utc), False)):
            assert connection.execute(reserve, (ONE_CALL, at)).fetchall() == [(is_refused,)]


def test_a_locked_budget_keeps_no_connection_waiting(url: str) -> None:
    budgets.set_budget(url, "b", limit=1)
    write(url, call_of())
    with psycopg.connect(url) as locking, psycopg.connect(url) as connection:
        locking.execute("SELECT FROM token_ledger_budget_accounts FOR UPDATE")
        with pytest.raises(pg_errors.LockNotAvailable):
            connection.execute("SELECT FROM token_ledger_reserve('h', '{}', 0.1)")


def test_a_fault_of_ours_in_a_budget_keeps_no_call_out_of_the_ledger(url: str) -> None:
    budgets.set_budget(url, "b", limit=1)

    class Broken(BudgetReader):
        def of_row(self, row: LedgerRow) -> None:
            raise RuntimeError(row.model)

    with closing(BatchWriter(url, reservations=Broken())) as writer:
        assert writer.write([call_of()]).stored == 1


def test_a_budget_that_cannot_be_charged_keeps_no_call_out_of_the_ledger(url: str) -> None:
    budgets.set_budget(url, "b", limit=1)
    with psycopg.connect(url) as connection:
        connection.execute(
            "ALTER TABLE token_ledger_budget_buckets"
            " ADD CONSTRAINT none CHECK (calls < 0) NOT VALID"
        )
    write(url, call_of())
    assert ask(url, "SELECT count(*) FROM token_ledger_events") == [(1,)]
    with psycopg.connect(url) as connection:
        connection.execute("ALTER TABLE token_ledger_budget_buckets DROP CONSTRAINT none")
    with psycopg.connect(url, autocommit=True) as connection:
        assert recount(connection, budgets.show_budget(url, "b")).wrong_usd == ONE_CALL
    assert status_of(url) == {"": (ONE_CALL, 1)}


def test_a_reservation_of_another_program_is_settled_by_the_commit_of_its_call(url: str) -> None:
    budgets.set_budget(url, "b", limit=1)
    one = call_of()
    with psycopg.connect(url, autocommit=True) as connection:

        def answers(statement: str, *values: object) -> object:
            return connection.execute(statement.encode(), values).fetchone()

        reserve = "SELECT granted_usd FROM token_ledger_reserve(%s, '{}', 0.25)"
        assert answers(reserve, "r1") == (Decimal("0.25"),)
        assert answers(reserve, "r2") == (Decimal("0.25"),)
        [status] = budgets.budget_status(url, "b")
        assert status.reserved_usd == Decimal("0.5")
        settle = "SELECT token_ledger_settle(%s, %s, %s, %s)"
        assert answers(settle, "r1", ONE_CALL, one.trace_id, one.span_id) == (True,)
        write(url, one)
        [status] = budgets.budget_status(url, "b")
        assert (status.spent_usd, status.reserved_usd) == (ONE_CALL, Decimal("0.25"))
        assert (status.calls, status.unreserved_calls) == (1, 0)
        # The row may be there before the program says so.
        two = call_of()
        write(url, two)
        assert answers(settle, "r2", None, two.trace_id, two.span_id) == (True,)
        [status] = budgets.budget_status(url, "b")
        assert (status.spent_usd, status.reserved_usd) == (2 * ONE_CALL, Decimal(0))
        assert answers(settle, "r2", None, "", "") == (False,)


def test_the_pace_is_that_of_the_period_so_far() -> None:
    start = datetime(2026, 11, 1, tzinfo=timezone.utc)
    values: dict[str, Any] = {
        "budget": "b",
        "value": "",
        "limit_usd": Decimal(100),
        "spent_usd": Decimal("19.50"),
        "unconfirmed_usd": Decimal("0.50"),
        "reserved_usd": Decimal(0),
        "calls": 1,
        "left_usd": Decimal(80),
        "unpriced_calls": 0,
        "unreserved_calls": 0,
        "unreserved_usd": Decimal(0),
        "starts_at": start,
        "action": "block",
        "period": "month",
        "is_paused": False,
        "resets_at": start + timedelta(days=30),
    }

    def pace(days: float, **more: object) -> Decimal | None:
        asked_at = start + timedelta(days=days)
        fields: dict[str, Any] = {**values, "asked_at": asked_at, **more}
        return BudgetStatus(**fields).pace_usd

    # $20 in 12 of 30 days.
    assert pace(12) == Decimal("50.00")
    assert pace(0.2) is None, "too early"
    assert pace(12, period="rolling") is None
    assert pace(12, period="total", resets_at=None) is None


def test_an_event_loop_can_do_the_same(url: str) -> None:
    async def steps() -> list[Budget]:
        await async_budgets.set_budget(url, "b", limit=1)
        return await async_budgets.list_budgets(url)

    assert [budget.name for budget in asyncio.run(steps())] == ["b"]


def test_a_budget_per_run_can_become_one_per_day(url: str) -> None:
    assert budgets.set_budget(url, "b", limit=1, per="run").each == "trace"
    changed = budgets.set_budget(url, "b", per="day")
    assert (changed.each, changed.period) == ("", "day")


def test_python_refuses_floats() -> None:
    with pytest.raises(InvalidRequestError, match="invalid limit"):
        budgets.set_budget("postgresql:///none", "b", limit=0.5)  # type: ignore[arg-type]


def test_a_budget_matches_by_all_of_its_dimensions() -> None:
    budget = Budget(
        name="b",
        limit_usd=Decimal(1),
        filters={"team": ("ml", "data"), "feature": ("chat",)},
        each="user",
    )

    def account(**values: str) -> str | None:
        return budget.account_of(lambda name: values.get(name, ""))

    assert account(team="data", feature="chat", user="ada") == "ada"
    assert account(team="data", feature="chat") is None
    assert account(team="web", feature="chat", user="ada") is None
    assert account(team="ml", user="ada") is None
