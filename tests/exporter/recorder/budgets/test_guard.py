"""A budget refuses calls before they are sent, exactly at its limit, in every process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from contextlib import closing
from decimal import Decimal
from typing import TYPE_CHECKING

import psycopg
import pytest

from support.guarded_calls import guarded_app
from support.ledger_rows import ask
from support.ledgers import call, eventually, opened
from tokenledger_exporter.budgets.budgets import (
    budget_status,
    delete_budget,
    pause_budget,
    refusals,
    release_unconfirmed,
    set_budget,
)
from tokenledger_exporter.domain.time_expressions import parse_moment, until_now
from tokenledger_exporter.errors import LedgerError
from tokenledger_exporter.recorder.budgets import guard, round_trip
from tokenledger_exporter.recorder.budgets.round_trip import ReserveConnection
from tokenledger_exporter.store.writer import BatchWriter
from tokenledger_semconv.budgets import Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta
    from pathlib import Path

    from tokenledger_exporter.budgets.results import BudgetStatus
    from tokenledger_exporter.store.budget_charges import Account

# 1,000 input tokens at $2.50 and 100 output tokens at $10 per million.
ONE_CALL = Decimal("2.5") * 1_000 / 1_000_000 + Decimal(10) * 100 / 1_000_000
NOTHING = Decimal(0)
TEAM = "ml"


def start(script: str, *words: str) -> subprocess.Popen[str]:
    """Run a script in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(
        [sys.executable, "-c", script, *words],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )


def kill_a_process(database_url: str, spool_dir: Path) -> None:
    """Let a process make ten calls and begin one, and kill it before it commits any."""
    process = start(KILLED, database_url, str(spool_dir))
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL


def status_of(database_url: str, name: str = "b") -> BudgetStatus:
    [status] = budget_status(database_url, name)
    return status


def test_calls_are_refused_exactly_at_the_limit(database_url: str) -> None:
    set_budget(database_url, "b", where={"team": "ml"}, limit=100 * ONE_CALL)
    with guarded_app(database_url) as app:
        made, refusal = app.calls_until_refused(tokenledger__team=TEAM)
        assert made == 100
        assert app.call(tokenledger__team="other") is None, "the budget is of another team"
    assert refusal is not None
    assert (refusal.budget, refusal.limit_usd) == ("b", 100 * ONE_CALL)
    assert refusal.spent_usd + refusal.reserved_usd == 100 * ONE_CALL
    assert refusal.resets_at is not None
    assert "budget set b --limit" in refusal.remedy
    status = status_of(database_url)
    assert (status.spent_usd, status.reserved_usd, status.left_usd) == (
        100 * ONE_CALL,
        NOTHING,
        NOTHING,
    )
    assert (status.calls, status.unreserved_calls) == (100, 0)
    [refused] = refusals(database_url, parse_moment("1h"), until_now())
    assert (refused.budget, refused.reason, refused.refused_calls) == ("b", "limit", 1)
    assert ask(database_url, "SELECT count(*) FROM token_ledger_events") == [(101,)]


def test_each_value_has_its_own_limit_and_calls_without_one_have_none(database_url: str) -> None:
    set_budget(database_url, "b", each="user", per="day", limit=2 * ONE_CALL)
    with guarded_app(database_url) as app:
        assert app.calls_until_refused(user__id="ada")[0] == 2
        made, refusal = app.calls_until_refused(user__id="bob")
        assert made == 2
        assert refusal is not None
        assert refusal.key == "bob"
        assert app.calls_until_refused(5) == (5, None)


@pytest.mark.parametrize("user", ["x" * 300, "\u6f22" * 3_000, "a\0b", "a\ud800b", "a\\u0000b"])
def test_a_value_that_the_ledger_changes_is_limited_and_affects_no_other(
    database_url: str, user: str
) -> None:
    set_budget(database_url, "b", each="user", limit=5 * ONE_CALL)
    with guarded_app(database_url) as app:
        assert app.calls_until_refused(user__id=user)[0] == 5
        assert app.calls_until_refused(user__id="bob")[0] == 5
    spent = [status.spent_usd for status in budget_status(database_url)]
    assert spent == [5 * ONE_CALL, 5 * ONE_CALL]


def test_a_statement_that_fails_for_one_call_is_no_outage_for_others(database_url: str) -> None:
    set_budget(database_url, "b", limit=ONE_CALL)
    connection = ReserveConnection(database_url, "app")
    with pytest.raises(LedgerError):
        connection.reserve("h", {"team": "a\0b"}, ONE_CALL, guard.LEASE_LIFETIME)
    [answer] = connection.reserve("h", {"team": "ml"}, ONE_CALL, guard.LEASE_LIFETIME)
    assert answer.granted_usd == ONE_CALL
    connection.close()


def test_a_blank_value_is_none_as_in_the_ledger(database_url: str) -> None:
    set_budget(database_url, "b", each="user", limit=ONE_CALL)
    with guarded_app(database_url) as app:
        assert app.calls_until_refused(5, user__id="  ") == (5, None)


def test_a_call_waits_a_moment_only_for_leases_that_are_extended(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(round_trip, "ASKING_SECONDS", 0.05)
    set_budget(database_url, "b", limit=5 * ONE_CALL, on_outage="refuse")
    is_extending, may_end = threading.Event(), threading.Event()

    class HangingWriter(BatchWriter):
        def keep_leases(
            self, holder: str, leases: Mapping[Account, Decimal], lifetime: timedelta
        ) -> None:
            is_extending.set()
            assert may_end.wait(10)
            super().keep_leases(holder, leases, lifetime)

    with guarded_app(database_url) as app, closing(HangingWriter(database_url)) as writer:
        assert app.call() is None
        leases = app.guard
        assert isinstance(leases, guard.LeaseGuard)
        thread = threading.Thread(target=lambda: leases.check(writer, has_waiting=True))
        thread.start()
        assert is_extending.wait(10)
        refusal = app.call()
        may_end.set()
        thread.join()
    assert refusal is not None
    assert refusal.reason == "outage"


def test_every_budget_of_a_call_must_have_room_and_a_refusal_reserves_nothing(
    database_url: str,
) -> None:
    set_budget(database_url, "wide", limit=50 * ONE_CALL)
    set_budget(database_url, "narrow", each="user", limit=3 * ONE_CALL)
    with guarded_app(database_url) as app:
        made, refusal = app.calls_until_refused(user__id="ada")
        assert made == 3
        assert refusal is not None
        assert refusal.budget == "narrow"
        app.ledger.flush(10.0)
    wide = status_of(database_url, "wide")
    assert (wide.spent_usd, wide.reserved_usd) == (3 * ONE_CALL, NOTHING)


def test_threads_never_spend_more_than_the_limit(database_url: str) -> None:
    set_budget(database_url, "b", limit=60 * ONE_CALL)
    made: list[int] = []
    with guarded_app(database_url, flush_interval_seconds=0.2) as app:
        threads = [
            threading.Thread(target=lambda: made.append(app.calls_until_refused()[0]))
            for _ in range(16)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        app.ledger.flush(10.0)
        # Money of a call that was in flight when the others were refused may be left.
        made.append(app.calls_until_refused()[0])
    assert sum(made) == 60
    assert status_of(database_url).spent_usd == 60 * ONE_CALL


CHILD = """
import sys
from support.guarded_calls import guarded_app
with guarded_app(sys.argv[1], spool_dir=sys.argv[2], flush_interval_seconds=0.2) as app:
    print(app.calls_until_refused()[0])
"""


def test_processes_share_one_budget(database_url: str, tmp_path: Path) -> None:
    set_budget(database_url, "b", limit=80 * ONE_CALL)
    with guarded_app(database_url) as app:
        assert app.call() is None, "it was asked before the others start"
        children = [start(CHILD, database_url, str(tmp_path)) for _ in range(3)]
        made = sum(int(child.communicate(timeout=60)[0]) for child in children)
        app.ledger.flush(10.0)
        rest, refusal = app.calls_until_refused()
    assert made + rest + 1 == 80
    assert refusal is not None
    assert status_of(database_url).spent_usd == 80 * ONE_CALL


KILLED = """
import os, sys
from support.guarded_calls import guarded_app
with guarded_app(sys.argv[1], spool_dir=sys.argv[2], flush_interval_seconds=60.0) as app:
    for _ in range(10):
        assert app.call() is None
    app.begin()
    os.kill(os.getpid(), 9)
"""


def test_money_of_a_killed_process_stays_spent_until_its_spool_is_recovered(
    database_url: str, tmp_path: Path
) -> None:
    set_budget(database_url, "b", limit=100 * ONE_CALL)
    kill_a_process(database_url, tmp_path)
    # Eleven calls and the rest of the lease; nothing is committed.
    before = status_of(database_url)
    assert before.spent_usd == 0
    assert before.reserved_usd >= 11 * ONE_CALL
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE token_ledger_budget_holds SET expires_at = clock_timestamp()")
    expired = status_of(database_url)
    assert (expired.reserved_usd, expired.unconfirmed_usd) == (NOTHING, before.reserved_usd)
    with opened(database_url, spool_dir=str(tmp_path)) as ledger:
        ledger.flush(10.0)
    after = status_of(database_url)
    assert (after.spent_usd, after.calls, after.unpriced_calls) == (10 * ONE_CALL, 11, 1)
    assert (after.reserved_usd, after.unconfirmed_usd) == (NOTHING, NOTHING)


def test_an_operator_releases_what_a_lost_machine_had_reserved(
    database_url: str, tmp_path: Path
) -> None:
    set_budget(database_url, "b", limit=100 * ONE_CALL)
    kill_a_process(database_url, tmp_path)
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE token_ledger_budget_holds SET expires_at = clock_timestamp()")
    [freed] = release_unconfirmed(database_url, "b")
    assert freed.usd >= 11 * ONE_CALL
    assert status_of(database_url).unconfirmed_usd == 0


def test_a_new_a_lowered_and_a_paused_budget_bind_running_processes(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Within 5 seconds, which would make this test long.
    assert max(guard.CHECK_SECONDS, guard.IDLE_CHECK_SECONDS) < 5
    monkeypatch.setattr(guard, "CHECK_SECONDS", 0.1)
    monkeypatch.setattr(guard, "IDLE_CHECK_SECONDS", 0.2)
    with guarded_app(database_url) as app:
        assert app.calls_until_refused(10) == (10, None)
        assert eventually(lambda: app.guard is None), "no budget: calls do not ask"
        app.ledger.flush(10.0)
        set_budget(database_url, "b", limit=15 * ONE_CALL)
        assert eventually(lambda: app.guard is not None, seconds=5.0)
        assert app.calls_until_refused()[0] == 5
        set_budget(database_url, "b", limit=20 * ONE_CALL)
        assert app.calls_until_refused()[0] == 5, "the database decides near the limit"
        pause_budget(database_url, "b")
        assert eventually(lambda: app.guard is None, seconds=5.0)
        pause_budget(database_url, "b", is_paused=False)
        assert eventually(lambda: app.guard is not None, seconds=5.0)
        assert app.call() is not None
        delete_budget(database_url, "b")
        assert eventually(lambda: app.guard is None, seconds=5.0)


def test_a_lowered_limit_recalls_leases(database_url: str) -> None:
    set_budget(database_url, "b", limit=10_000 * ONE_CALL)
    with guarded_app(database_url) as app:
        app.calls_until_refused(10)
        app.ledger.flush(10.0)
        set_budget(database_url, "b", limit=10 * ONE_CALL)
        assert eventually(lambda: app.call() is not None, seconds=5.0)


def test_calls_far_from_the_limit_ask_nothing(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_budget(database_url, "b", limit=1_000_000)
    with guarded_app(database_url) as app:
        app.calls_until_refused(5)
        app.ledger.flush(10.0)
        app.calls_until_refused(1)
        asked: list[str] = []

        def reserve(*_: object) -> None:
            asked.append("the database")

        monkeypatch.setattr(ReserveConnection, "reserve", reserve)
        assert app.calls_until_refused(20) == (20, None)
        assert asked == []


@pytest.mark.parametrize(("policy", "is_refused"), [("allow", False), ("refuse", True)])
def test_in_an_outage_the_budget_says_whether_calls_are_made(
    database_url: str, policy: str, *, is_refused: bool
) -> None:
    set_budget(database_url, "b", limit=ONE_CALL, on_outage=policy)
    with guarded_app(database_url) as app:
        assert app.call() is None
        server, _, name = database_url.rpartition("/")
        with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
            connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false".encode())
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name]
            )
        refusal = app.call()
        assert (refusal is not None) == is_refused
        if refusal is not None:
            assert (refusal.budget, refusal.reason) == ("b", "outage")
            assert "--on-outage allow" in refusal.remedy


def test_a_ledger_that_cannot_be_reached_at_first_delays_one_call_only() -> None:
    with guarded_app("postgresql://u:p@127.0.0.1:1/none") as app:
        assert app.calls_until_refused(20) == (20, None)


@pytest.mark.parametrize(("policy", "made"), [("allow", 20), ("refuse", 0), ("estimate", 8)])
def test_calls_without_a_price_follow_the_policy(database_url: str, policy: str, made: int) -> None:
    # Two priced calls; the average of them counts for each call without a price.
    set_budget(database_url, "b", limit=10 * ONE_CALL, unpriced=policy)
    with guarded_app(database_url) as app:
        assert app.calls_until_refused(2) == (2, None)
        app.ledger.flush(10.0)
        number, refusal = app.calls_until_refused(20, gen_ai__request__model="no-such-model")
        assert number == made
        if policy == "refuse":
            assert refusal is not None
            assert refusal.reason == "unpriced"
        app.ledger.flush(10.0)
    status = status_of(database_url)
    assert status.spent_usd == 2 * ONE_CALL
    assert status.unpriced_calls == made


def test_calls_that_reserved_nothing_are_charged_and_listed(database_url: str) -> None:
    set_budget(database_url, "b", limit=10 * ONE_CALL)
    with opened(database_url) as ledger:
        for _ in range(12):
            call(ledger)
        ledger.flush(10.0)
    status = status_of(database_url)
    assert (status.spent_usd, status.left_usd) == (12 * ONE_CALL, -2 * ONE_CALL)
    assert (status.unreserved_calls, status.unreserved_usd) == (12, 12 * ONE_CALL)
    with guarded_app(database_url) as app:
        assert isinstance(app.call(), Refusal)


def test_a_child_of_a_fork_reserves_for_itself(database_url: str) -> None:
    set_budget(database_url, "b", limit=20 * ONE_CALL)
    with guarded_app(database_url, flush_interval_seconds=0.2) as app:
        assert app.calls_until_refused(5) == (5, None)
        app.ledger.flush(10.0)
        child = os.fork()
        if child == 0:
            made = app.calls_until_refused()[0]
            app.ledger.shutdown(10.0)
            os._exit(made)
        made = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert made == 15
        assert isinstance(app.call(), Refusal)
    assert status_of(database_url).spent_usd == 20 * ONE_CALL


def test_a_request_that_was_never_sent_gives_its_money_back(database_url: str) -> None:
    set_budget(database_url, "b", limit=ONE_CALL * 4)
    with guarded_app(database_url) as app:
        assert app.call() is None
        app.ledger.flush(10.0)
        begun = app.guard.reserve({"gen_ai.request.model": "gpt-4o"}, 10) if app.guard else None
        assert begun is not None
        assert not isinstance(begun, Refusal)
        begun.release()
        assert app.calls_until_refused()[0] == 3


def test_a_run_is_a_trace_with_its_own_limit(database_url: str) -> None:
    set_budget(database_url, "b", per="run", limit=3 * ONE_CALL)
    with guarded_app(database_url) as app:
        tracer = app.ledger.tracer_provider.get_tracer("app")
        for _ in range(2):
            with tracer.start_as_current_span("run"):
                assert app.calls_until_refused(10)[0] == 3
