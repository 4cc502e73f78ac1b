"""One call reported by two spans is one row, in any order; two calls stay two rows."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import psycopg
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.call_reports import OTHER, OURS, THIRD, CallReport
from support.ledger_rows import ask
from tokenledger_exporter.cli import main
from tokenledger_exporter.maintenance import deduplicate
from tokenledger_exporter.maintenance.deduplicate import DeduplicationResult, deduplicate_marked
from tokenledger_exporter.store import duplicates
from tokenledger_exporter.store.writer import BatchWriter
from tokenledger_semconv import attributes

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from datetime import datetime

ONE_CALL = Decimal("0.0035")  # gpt-4o: 1,000 x 2.50/M + 100 x 10/M
TABLES = (
    "token_ledger_events, token_ledger_duplicates, token_ledger_conflicts,"
    " token_ledger_dirty_minutes,"
    " token_ledger_parents"
)

LOCK: Final = "SELECT FROM token_ledger_locks WHERE name = 'settle' FOR UPDATE"
# What is left to settle, and since when the oldest mark waits.
PORTION: Final = (
    "SELECT count(*), (SELECT min(recorded_at) FROM token_ledger_dirty_minutes)"
    " FROM token_ledger_events"
    " WHERE NOT settled"
)
COMMAND: Final = "from tokenledger_exporter.cli import main; main()"
MONEY: Final = (
    "SELECT count(*), sum(cost_usd), count(*) FILTER (WHERE NOT settled) FROM token_ledger_events"
)
STATE: Final = (
    "SELECT event_id, user_id, team, feature FROM token_ledger_events"
    " UNION ALL SELECT event_id, winner_event_id::text, reason, copied_fields::text"
    " FROM token_ledger_duplicates ORDER BY 1"
)


@pytest.fixture
def writer(database_url: str) -> Generator[BatchWriter]:
    made = BatchWriter(database_url)
    yield made
    made.close()


def keep(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        deduplicate_marked(connection)


def money(database_url: str) -> list[tuple[int, Decimal, int]]:
    """Rows, their cost, and how many were not checked."""
    return ask(database_url, MONEY)


def moved_duplicates(database_url: str) -> list[tuple[str, str]]:
    return ask(
        database_url,
        "SELECT event ->> 'scope', reason FROM token_ledger_duplicates ORDER BY 1",
    )


def write(database_url: str, *batches: Sequence[CallReport]) -> None:
    """Each batch by a process of its own, the keeper at the end."""
    for batch in batches:
        writer = BatchWriter(database_url)
        writer.write([told.row for told in batch])
        writer.close()
    keep(database_url)


def test_a_call_with_one_report_is_settled_on_write(database_url: str, writer: BatchWriter) -> None:
    result = writer.write([CallReport().row, CallReport(response_id="").row])
    assert result.unsettled == 0
    assert money(database_url) == [(2, 2 * ONE_CALL, 0)]
    assert ask(database_url, "SELECT count(*) FROM token_ledger_dirty_minutes") == [(0,)]


def test_rows_written_concurrently_are_settled_by_maintenance(database_url: str) -> None:
    with psycopg.connect(database_url) as busy:
        busy.execute(LOCK)
        writer = BatchWriter(database_url)
        assert writer.write([CallReport().row]).unsettled == 1
        writer.close()
        assert money(database_url) == [(1, ONE_CALL, 1)]
        assert ask(database_url, "SELECT sum(not_settled) FROM token_ledger_coverage") == [(1,)]
    keep(database_url)
    assert money(database_url) == [(1, ONE_CALL, 0)]


@pytest.mark.parametrize("outer_first", [True, False], ids=["outer first", "inner first"])
@pytest.mark.parametrize("batches", [1, 2], ids=["one batch", "two batches"])
@pytest.mark.parametrize(
    "rule", ["response id", "ancestor", "both"], ids=["by response id", "by ancestor", "by both"]
)
def test_a_call_reported_twice_is_one_row(
    database_url: str, *, outer_first: bool, batches: int, rule: str
) -> None:
    inner = CallReport()
    outer = inner.around()
    if rule != "response id":
        inner = inner.within(outer)
    if rule == "ancestor":
        outer = replace(outer, response_id="")
    told = [outer, inner] if outer_first else [inner, outer]
    write(database_url, *([told] if batches == 1 else [[t] for t in told]))
    assert money(database_url) == [(1, ONE_CALL, 0)]
    assert ask(database_url, "SELECT scope FROM token_ledger_events") == [(OURS,)]
    why = "an enclosing span" if rule != "response id" else "the same response id"
    assert moved_duplicates(database_url) == [
        (OTHER, f"reported again {'by' if 'span' in why else 'with'} {why}")
    ]


def test_the_more_complete_report_is_kept_if_neither_is_ours(database_url: str) -> None:
    lean = CallReport(scope=OTHER)
    full = lean.around(scope=THIRD, more={attributes.REASONING_TOKENS: 60})
    write(database_url, [full], [lean])
    assert ask(database_url, "SELECT scope, reasoning_tokens FROM token_ledger_events") == [
        (THIRD, 60)
    ]


def test_the_innermost_of_equal_reports_is_kept(database_url: str) -> None:
    inner = CallReport(scope=THIRD)
    outer = inner.around()
    inner = inner.within(outer)
    write(database_url, [outer], [inner])
    assert ask(database_url, "SELECT scope FROM token_ledger_events") == [(THIRD,)]


def test_a_measured_report_beats_our_unmeasured_one(database_url: str) -> None:
    ours = CallReport(counts=None)
    other = ours.around(counts=(1_000, 100))
    write(database_url, [ours], [other])
    assert money(database_url) == [(1, ONE_CALL, 0)]


@pytest.mark.parametrize(
    ("counted", "standing"),
    [(1, (OURS, 95, "estimated")), (480, (OTHER, 480, "priced"))],
    ids=["a placeholder", "heard to its end"],
)
def test_for_an_interrupted_stream_the_largest_output_is_kept(
    database_url: str, counted: int, standing: tuple[str, int, str]
) -> None:
    """Ours estimates; another took the first chunk's placeholder, or a gateway heard all of it."""
    ours = CallReport(counts=(1_000, 95), more={attributes.USAGE_ESTIMATED: True})
    other = ours.around(counts=(1_000, counted), more={})
    write(database_url, [ours], [other])
    found = ask(database_url, "SELECT scope, output_tokens, cost_status FROM token_ledger_events")
    assert found == [standing]


def test_a_gateways_own_id_is_the_same_call(
    database_url: str,
) -> None:
    """LiteLLM names an answer of Anthropic `chatcmpl-...`."""
    inner = CallReport(response_id="msg_01JkVOYpRzZRpLacl3l4Kxbg")
    outer = inner.around(scope="litellm", response_id="chatcmpl-8zwlbVxih8yoDGDmvgKWPEx55S2sN")
    write(database_url, [outer], [inner.within(outer)])
    assert money(database_url) == [(1, ONE_CALL, 0)]


@pytest.mark.parametrize("sdk", [OURS, "com.anthropic.sdk.python"])
def test_a_known_miscount_is_the_same_call(database_url: str, sdk: str) -> None:
    """OpenLLMetry tells 101 output tokens of an Anthropic stream of 100, in a trace of its own."""
    exact = CallReport(scope=sdk, response_id="msg_01JkVOYpRzZRpLacl3l4Kxbg")
    miscounted = exact.around(
        scope="opentelemetry.instrumentation.anthropic", counts=(1_000, 101), trace_id=bytes(16)
    )
    write(database_url, [miscounted], [exact])
    assert ask(database_url, "SELECT scope, output_tokens FROM token_ledger_events") == [(sdk, 100)]


def test_the_kept_row_copies_missing_attribution(database_url: str) -> None:
    inner = CallReport(more={attributes.TEAM: "ml", "tokenledger.metadata.tier": "gold"})
    outer = inner.around(
        more={
            attributes.USER_ID: "u1",
            attributes.TEAM: "other",
            "tokenledger.metadata.tier": "none",
            "tokenledger.metadata.run": "7",
        }
    )
    write(database_url, [inner], [outer])
    question = "SELECT user_id, team, metadata FROM token_ledger_events"
    assert ask(database_url, question) == [("u1", "ml", {"tier": "gold", "run": "7"})]
    [(given,)] = ask(database_url, "SELECT copied_fields FROM token_ledger_duplicates")
    assert sorted(given) == ["metadata.run", "user_id"]


def test_another_tenant_cannot_claim_a_row(
    database_url: str,
) -> None:
    ours = CallReport(more={attributes.USER_ID: "ada"})
    gateway = ours.around(more={attributes.ORGANIZATION_ID: "acme"})
    # Its times are further from ours than the gateway's: the closest report is found first.
    stranger = ours.around(
        scope=THIRD,
        lasts_ms=2_007,
        more={attributes.ORGANIZATION_ID: "rival", attributes.TEAM: "spies"},
    )
    for order in ([ours, gateway, stranger], [stranger, gateway, ours]):
        with psycopg.connect(database_url, autocommit=True) as connection:
            connection.execute(f"TRUNCATE {TABLES}".encode())
        write(database_url, *[[told] for told in order])
        rows = ask(
            database_url,
            "SELECT organization_id, user_id, team FROM token_ledger_events ORDER BY 1",
        )
        assert rows == [("acme", "ada", ""), ("rival", "", "spies")]


def test_a_better_report_that_comes_late_takes_over_and_restores_the_rest(
    database_url: str,
) -> None:
    middle = CallReport(scope=OTHER, more={attributes.TEAM: "ml"})
    outer = middle.around(scope=THIRD, more={attributes.USER_ID: "u1"})
    ours = CallReport(more={attributes.USER_ID: "u2"})
    write(database_url, [outer], [middle], [ours])
    assert ask(database_url, "SELECT scope, user_id, team FROM token_ledger_events") == [
        (OURS, "u2", "ml")
    ]
    # What the earlier winner had taken from the outer span is not its own, so it is not passed on.
    told = ask(
        database_url,
        "SELECT event ->> 'scope', event ->> 'user_id', copied_fields FROM token_ledger_duplicates"
        " ORDER BY 1",
    )
    assert told == [(THIRD, "u1", []), (OTHER, "", ["team"])]


def test_a_resent_duplicate_is_moved_again(database_url: str) -> None:
    inner = CallReport()
    outer = inner.around(more={attributes.USER_ID: "u1"})
    for _ in range(3):
        write(database_url, [outer], [inner])
    assert money(database_url) == [(1, ONE_CALL, 0)]
    assert ask(database_url, "SELECT user_id FROM token_ledger_events") == [("u1",)]
    assert ask(database_url, "SELECT copied_fields FROM token_ledger_duplicates") == [
        (["user_id"],)
    ]


def test_a_duplicate_that_is_sent_again_with_other_usage_is_a_conflict(
    database_url: str,
) -> None:
    inner = CallReport()
    outer = inner.around()
    write(database_url, [outer, inner])
    write(database_url, [replace(outer, more={attributes.REASONING_TOKENS: 5})])
    assert money(database_url) == [(1, ONE_CALL, 0)]
    conflicts = ask(database_url, "SELECT event -> 'reasoning_tokens' FROM token_ledger_conflicts")
    assert conflicts == [(5,)]


TWO_CALLS = {
    "one id at two times": [CallReport(), CallReport(scope=OTHER, after_ms=60_000)],
    "one id of a server that has 999": [
        CallReport(response_id="chatcmpl-417"),
        CallReport(scope=OTHER, response_id="chatcmpl-417", after_ms=500),
    ],
    "one id, claimed by another organization": [
        CallReport(more={attributes.ORGANIZATION_ID: "acme"}),
        CallReport(scope=OTHER, after_ms=1, more={attributes.ORGANIZATION_ID: "rival"}),
    ],
    "one id, other counts": [CallReport(), CallReport(scope=OTHER, counts=(1_000, 101))],
    "a cached answer served twice at once": [CallReport(), CallReport(after_ms=5)],
    "a call within a call of ours": [
        outer := CallReport(lasts_ms=9_000, response_id=""),
        CallReport(after_ms=500, response_id="").within(outer),
    ],
    "two ids of one kind, one within the other": [
        around := CallReport(
            scope=OTHER, response_id="msg_01JkVOYpRzZRpLacl3l4Kxbg", lasts_ms=9_000
        ),
        CallReport(response_id="msg_01SfxxFTONPY9PxxPLQrKdRX", after_ms=10).within(around),
    ],
    "two calls below one span that counts their sum": [
        agent := CallReport(scope=OTHER, response_id="", lasts_ms=9_000, counts=(2_000, 200)),
        CallReport(response_id="", after_ms=10).within(agent),
    ],
}


@pytest.mark.parametrize("told", TWO_CALLS.values(), ids=TWO_CALLS)
def test_two_calls_stay_two_rows(database_url: str, told: list[CallReport]) -> None:
    write(database_url, *[[one] for one in told])
    assert [rows for rows, _, _ in money(database_url)] == [2]
    assert [waiting for _, _, waiting in money(database_url)] == [0]
    assert moved_duplicates(database_url) == []


def test_a_cached_answer_served_twice_and_reported_twice_is_two_rows(database_url: str) -> None:
    first, second = CallReport(), CallReport(after_ms=700)
    write(database_url, [first.around(), second.around(), first, second])
    assert money(database_url) == [(2, 2 * ONE_CALL, 0)]
    winners = ask(database_url, "SELECT DISTINCT winner_event_id FROM token_ledger_duplicates")
    assert len(winners) == 2


def test_suspected_duplicates_are_listed(database_url: str) -> None:
    write(database_url, TWO_CALLS["one id at two times"])
    found = ask(database_url, "SELECT rows, cost_usd FROM token_ledger_suspected_duplicates")
    assert found == [(2, 2 * ONE_CALL)]


def test_a_row_that_loses_its_duplicate_comes_back(database_url: str) -> None:
    """A third report may show that two that looked like one call are two."""
    ours, late = CallReport(), CallReport(after_ms=700)
    # Alone with ours, the second call's outer span is taken for a report of it.
    write(database_url, [ours], [late.around()])
    assert [rows for rows, _, _ in money(database_url)] == [1]
    write(database_url, [ours.around()])
    assert money(database_url) == [(2, 2 * ONE_CALL, 0)]
    assert moved_duplicates(database_url) == [(OTHER, "reported again with the same response id")]


def test_a_keeper_with_nothing_to_settle_does_not_wait_for_a_writer(database_url: str) -> None:
    with psycopg.connect(database_url) as holder, psycopg.connect(database_url) as connection:
        holder.execute(LOCK)
        assert deduplicate_marked(connection) == DeduplicationResult()


def test_rows_are_settled_in_batches_that_release_the_lock(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with psycopg.connect(database_url) as busy, closing(BatchWriter(database_url)) as writer:
        busy.execute(LOCK)
        calls = [CallReport(response_id="").row for _ in range(5)]
        assert writer.write(calls).unsettled == 5
    [(waits_since,)] = ask(database_url, "SELECT min(recorded_at) FROM token_ledger_dirty_minutes")
    monkeypatch.setattr(deduplicate, "_ROWS", 2)
    seen: list[tuple[int, datetime]] = []

    def lock(connection: psycopg.Connection[Any]) -> None:
        # What the portions before did is committed: another session sees it.
        seen.extend(ask(database_url, PORTION))
        twins_lock(connection)

    twins_lock = duplicates.lock
    monkeypatch.setattr(duplicates, "lock", lock)
    with psycopg.connect(database_url) as connection:
        assert deduplicate_marked(connection).settled == 5
    assert seen == [(left, waits_since) for left in (5, 3, 1)]
    assert money(database_url) == [(5, 5 * ONE_CALL, 0)]
    assert ask(database_url, "SELECT count(*) FROM token_ledger_dirty_minutes") == [(0,)]


def test_keep_runs_once_or_repeatedly(database_url: str) -> None:
    def leave_marked(told: CallReport) -> None:
        with psycopg.connect(database_url) as connection:
            connection.execute(LOCK)
            with closing(BatchWriter(database_url)) as writer:
                writer.write([told.row])

    ours = CallReport()
    leave_marked(ours)
    once = CliRunner().invoke(main, ["keep", "--database-url", database_url])
    settled, rolled_up = once.stdout.splitlines()
    assert once.exit_code == 0
    assert settled == "1 row checked for duplicates, 0 duplicates moved, 0 restored"
    assert rolled_up.startswith("sums updated: ")
    leave_marked(ours.around())
    command = [sys.executable, "-u", "-c", COMMAND, "keep", "--every", "0.1"]
    with subprocess.Popen(
        [*command, "--database-url", database_url], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert "1 duplicate moved" in process.stdout.readline()
            leave_marked(CallReport(response_id="resp_another_call_000001"))
            assert "1 row checked" in process.stdout.readline()
        finally:
            process.terminate()
    assert money(database_url) == [(2, 2 * ONE_CALL, 0)]


@st.composite
def histories(draw: st.DrawFn) -> tuple[int, list[list[CallReport]]]:
    """Some calls, each reported by one to three emitters, cut into batches in any order."""
    spans: list[CallReport] = []
    calls = draw(st.integers(1, 4))
    for number in range(calls):
        shared = draw(st.booleans())
        inner = CallReport(
            response_id="resp_cached_everywhere_0001" if shared else f"resp_{number:024d}",
            after_ms=number * 400,
            more={attributes.USER_ID: f"u{number}"} if draw(st.booleans()) else {},
        )
        outer = inner.around(more={attributes.TEAM: f"t{number}"})
        outermost = outer.around(scope=THIRD, more={attributes.FEATURE: f"f{number}"})
        nested = draw(st.booleans())
        if nested:
            outer = outer.within(outermost)
            inner = inner.within(outer)
        organization = draw(st.sampled_from(["", "acme"]))
        outer = replace(outer, more={**outer.more, attributes.ORGANIZATION_ID: organization})
        emitters = draw(st.integers(1, 3))
        spans += [inner, outer, outermost][:emitters]
    order = draw(st.permutations(spans))
    batches: list[list[CallReport]] = [[]]
    cuts = draw(st.lists(st.booleans(), min_size=len(spans), max_size=len(spans)))
    for told, cut in zip(order, cuts, strict=True):
        if batches[-1] and cut:
            batches.append([])
        batches[-1].append(told)
    return calls, batches


@given(history=histories(), data=st.data())
@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_the_outcome_depends_on_the_reports_and_not_on_their_order(
    database_url: str, history: tuple[int, list[list[CallReport]]], data: st.DataObject
) -> None:
    calls, batches = history
    states: list[list[tuple[object, ...]]] = []
    one_by_one = [[told] for batch in reversed(batches) for told in batch]
    with (
        closing(BatchWriter(database_url)) as writer,
        psycopg.connect(database_url, autocommit=True) as connection,
    ):
        for order in (batches, one_by_one):
            connection.execute(f"TRUNCATE {TABLES}".encode())
            for batch in order:
                writer.write([told.row for told in batch])
                if data.draw(st.booleans()):
                    deduplicate_marked(connection)
                if data.draw(st.booleans()):
                    writer.write([told.row for told in batch])
            deduplicate_marked(connection)
            assert connection.execute(MONEY).fetchall() == [(calls, calls * ONE_CALL, 0)]
            states.append(connection.execute(STATE).fetchall())
    assert states[0] == states[1]


REPORTED: Final = {
    attributes.REPORTED_COST: 0.0161,
    attributes.COST_SOURCE: "usage.cost",
    attributes.PROVIDER_NAME: "openrouter",
}
COST: Final = (
    "SELECT cost_usd, cost_status, reported_cost_usd, details ->> 'tokenledger.cost.source',"
    " price_id FROM token_ledger_events"
)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["kept first", "moved first"])
def test_the_kept_row_has_the_cost_that_another_report_has(
    database_url: str, order: tuple[int, int]
) -> None:
    unknown = {attributes.REQUEST_MODEL: "no/such-model"}
    ours = CallReport(more={**unknown, attributes.PROVIDER_NAME: "openrouter"})
    other = ours.around(more={**REPORTED, **unknown})
    told = (ours, other)
    write(database_url, *[[told[number]] for number in order])
    cost = Decimal("0.0161")
    [row] = ask(database_url, COST)
    assert row == (cost, "reported", cost, "usage.cost", "reported")
    [(note,)] = ask(database_url, "SELECT cost_note FROM token_ledger_events")
    assert note == (
        "the cost is the one that the provider reports; no price for no/such-model at openrouter"
    )
    write(database_url, [ours], [other])
    assert ask(database_url, COST) == [row]


def test_a_priced_row_keeps_its_cost_and_has_the_reported_one_too(database_url: str) -> None:
    ours = CallReport()
    other = ours.around(more={attributes.REPORTED_COST: 0.0161})
    write(database_url, [ours], [other])
    [(cost, status, reported, *_)] = ask(database_url, COST)
    assert (cost, status, reported) == (ONE_CALL, "priced", Decimal("0.0161"))


def test_a_cost_of_another_report_goes_with_it(database_url: str) -> None:
    """A better report comes late; the first one was kept until then, with the cost of another."""
    unknown = {attributes.REQUEST_MODEL: "no/such-model", attributes.PROVIDER_NAME: "openrouter"}
    middle = CallReport(scope=THIRD, more=unknown)
    outer = middle.around(scope=OTHER, more={**unknown, **REPORTED})
    ours = CallReport(more=unknown)
    write(database_url, [middle], [outer], [ours])
    [row] = ask(database_url, "SELECT scope, cost_status, cost_usd FROM token_ledger_events")
    assert row == (OURS, "reported", Decimal("0.0161"))
    moved = "SELECT event ->> 'scope', event ->> 'cost_status' FROM token_ledger_duplicates"
    assert set(ask(database_url, moved)) == {(THIRD, "unpriced"), (OTHER, "reported")}
