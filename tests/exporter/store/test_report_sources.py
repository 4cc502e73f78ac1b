"""Who reports a call decides what that can do to a row: a tenant moves its own rows alone."""

from __future__ import annotations

import json
import time
import tracemalloc
from contextlib import closing
from dataclasses import replace
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner
from msgspec import structs

from support.call_reports import OTHER, OURS, THIRD, CallReport
from support.ledger_rows import ask
from tokenledger_exporter.cli import main
from tokenledger_exporter.maintenance.deduplicate import deduplicate_marked
from tokenledger_exporter.store.duplicate_rule import MAX_SPAN_REPORTS
from tokenledger_exporter.store.writer import BatchWriter
from tokenledger_semconv import attributes

ORGANIZATION = attributes.ORGANIZATION_ID
# gpt-4o: 1,000 x 2.50/M + 100 x 10/M
ONE_CALL = Decimal("0.0035")
BOTH_WAYS = [(0, 1), (1, 0)]
OF_GLOBEX = {ORGANIZATION: "globex", "user.id": "gateway-user"}
GATEWAY = CallReport(scope=OTHER, more=OF_GLOBEX)
FORGED = replace(GATEWAY, scope=OURS, token="globex", span_id=7, more={"user.id": "mallory"})


def write(database_url: str, *reports: CallReport) -> None:
    """Each report by a process of its own, the keeper at the end."""
    for report in reports:
        with closing(BatchWriter(database_url)) as writer:
            writer.write([report.row])
    with psycopg.connect(database_url) as connection:
        deduplicate_marked(connection)


def standing(database_url: str) -> list[tuple[str, str, Decimal | None]]:
    """Organization, user and cost of every row that stands."""
    return ask(
        database_url,
        "SELECT organization_id, user_id, cost_usd FROM token_ledger_events ORDER BY 1, 2, 3",
    )


@pytest.mark.parametrize("order", BOTH_WAYS, ids=str)
@pytest.mark.parametrize(
    "changed",
    [
        {attributes.REQUEST_MODEL: "gpt-4o-mini"},
        {attributes.OPERATION_NAME: "moderation"},
        {attributes.REQUEST_MODEL: "a-model-nobody-prices"},
        {attributes.OPENAI_SERVICE_TIER: "batch"},
        {},
    ],
    ids=["a cheaper model", "a free operation", "an unknown model", "a cheaper tier", "the same"],
)
def test_a_tenant_that_reports_a_call_again_makes_it_no_cheaper(
    database_url: str, changed: dict[str, str], order: tuple[int, int]
) -> None:
    both = [GATEWAY, replace(FORGED, more={**FORGED.more, **changed})]
    write(database_url, *(both[place] for place in order))
    assert standing(database_url) == [("globex", "gateway-user", ONE_CALL)]


def test_a_tenant_that_reports_less_of_a_call_makes_it_no_cheaper(database_url: str) -> None:
    write(database_url, GATEWAY, replace(FORGED, counts=(1_000, 0)))
    assert ("globex", "gateway-user", ONE_CALL) in standing(database_url)


@pytest.mark.parametrize(
    ("counts", "model"),
    [((10**6, 100), "a-model-nobody-prices"), (None, "gpt-4o")],
    ids=["unpriced", "unmeasured"],
)
@pytest.mark.parametrize("order", BOTH_WAYS, ids=str)
def test_a_tenant_cannot_price_the_operators_unpriced_call(
    database_url: str, counts: tuple[int, int] | None, model: str, order: tuple[int, int]
) -> None:
    gateway = replace(GATEWAY, counts=counts, more={**OF_GLOBEX, attributes.REQUEST_MODEL: model})
    free = {attributes.OPERATION_NAME: "moderation", attributes.REQUEST_MODEL: model}
    forged = replace(FORGED, counts=counts or (1, 1), more={**FORGED.more, **free})
    both = [gateway, forged]
    write(database_url, *(both[place] for place in order))
    assert ("globex", "gateway-user", None) in standing(database_url)


def test_a_tenant_may_report_that_its_call_cost_more(database_url: str) -> None:
    costlier = replace(FORGED, more={attributes.REQUEST_MODEL: "gpt-4-turbo", "user.id": "bob"})
    write(database_url, GATEWAY, costlier)
    # gpt-4-turbo: 1,000 x 10/M + 100 x 30/M
    assert standing(database_url) == [("globex", "gateway-user", Decimal("0.013"))]


@pytest.mark.parametrize("order", BOTH_WAYS, ids=str)
def test_a_row_without_an_organization_cannot_be_claimed(
    database_url: str, order: tuple[int, int]
) -> None:
    app = CallReport(more={"user.id": "ann", "tokenledger.metadata.secret": "s"})
    both = [app, replace(FORGED, scope=OTHER)]
    write(database_url, *(both[place] for place in order))
    assert standing(database_url) == [("", "ann", ONE_CALL), ("globex", "mallory", ONE_CALL)]


def test_a_row_of_another_organization_keeps_its_place(database_url: str) -> None:
    acme = CallReport(scope=OTHER, token="acme", more={"user.id": "ann"})
    write(database_url, acme, FORGED, replace(FORGED, scope=THIRD, token="initech", span_id=8))
    assert [row[0] for row in standing(database_url)] == ["acme", "globex", "initech"]


@pytest.mark.parametrize("token", ["", "acme"], ids=["the operator's", "acme's"])
def test_knowing_a_span_id_does_not_replace_its_row(database_url: str, token: str) -> None:
    victim = CallReport(scope=OTHER, token=token, more={ORGANIZATION: "acme", "user.id": "ann"})
    copied = replace(FORGED, trace_id=victim.trace_id, span_id=victim.span_id, token="globex")
    parent = replace(copied, after_ms=-1, lasts_ms=3_000)
    child = replace(FORGED, scope=THIRD, span_id=9).within(victim)
    write(database_url, copied, victim, parent, child)
    assert ("acme", "ann", ONE_CALL) in standing(database_url)
    assert {row[0] for row in standing(database_url)} == {"acme", "globex"}
    kept = ask(database_url, "SELECT event ->> 'organization_id' FROM token_ledger_duplicates")
    assert ("acme",) not in kept


def test_call_ids_are_separate_per_organization(database_url: str) -> None:
    batch = {attributes.CALL_ID: "batch_1/request_1", ORGANIZATION: "globex"}
    ours = CallReport(more=batch, response_id="")
    forged = replace(FORGED, more=batch, response_id="", counts=(1, 1))
    write(database_url, forged, ours)
    assert ask(database_url, "SELECT count(*) FROM token_ledger_events") == [(2,)]
    assert ask(database_url, "SELECT count(*) FROM token_ledger_conflicts") == [(0,)]


def test_an_unmeasured_row_is_not_filled_by_a_tenant(database_url: str) -> None:
    sent = CallReport(counts=None, more={ORGANIZATION: "acme"}, response_id="")
    forged = replace(
        FORGED, trace_id=sent.trace_id, span_id=sent.span_id, counts=(10**6, 10**5), response_id=""
    )
    write(database_url, sent, forged)
    assert ("acme", "", None) in standing(database_url)


def test_a_source_the_operator_vouches_for_is_settled_as_the_operators_own(
    database_url: str,
) -> None:
    app = CallReport(more={"user.id": "ann"})
    telemetry = replace(app, scope=OTHER, token="acme", is_trusted=True, more={}, span_id=5)
    write(database_url, app, telemetry)
    assert standing(database_url) == [("acme", "ann", ONE_CALL)]


@pytest.mark.parametrize("order", BOTH_WAYS, ids=str)
def test_an_estimate_never_prevents_deduplication(
    database_url: str, order: tuple[int, int]
) -> None:
    estimated = CallReport(counts=(4, 4), more={attributes.USAGE_ESTIMATED: True, "user.id": "ann"})
    measured = replace(estimated, scope=OTHER, counts=(1_014, 56), more={}, span_id=5)
    both = [estimated, measured]
    write(database_url, *(both[place] for place in order))
    # 1,014 x 2.50/M + 56 x 10/M
    assert standing(database_url) == [("", "ann", Decimal("0.003095"))]


def test_an_estimate_of_more_than_was_measured_gives_way_too(database_url: str) -> None:
    estimated = CallReport(counts=(2_000, 80), more={attributes.USAGE_ESTIMATED: True})
    measured = replace(estimated, scope=OTHER, counts=(1_014, 56), more={}, span_id=5)
    write(database_url, estimated, measured)
    assert standing(database_url) == [("", "", Decimal("0.003095"))]


def test_one_id_in_thousands_of_rows_is_settled_in_little_memory(database_url: str) -> None:
    """What shares an id with more rows than a call has emitters stays apart, to be looked at."""
    rows = [replace(GATEWAY, token="globex", span_id=number + 1).row for number in range(2_500)]
    with closing(BatchWriter(database_url)) as writer:
        for first in range(0, len(rows), 500):
            writer.write(rows[first : first + 500])
    tracemalloc.start()
    with psycopg.connect(database_url) as connection:
        deduplicate_marked(connection)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 48 * 2**20
    counted = "SELECT count(*), count(*) FILTER (WHERE NOT settled) FROM token_ledger_events"
    assert ask(database_url, counted) == [(2_500, 0)]
    assert ask(database_url, "SELECT rows FROM token_ledger_suspected_duplicates") == [(2_500,)]


def test_a_tenants_flood_does_not_split_other_reports(
    database_url: str,
) -> None:
    flood = [
        replace(FORGED, scope=f"s{number}", span_id=number + 1)
        for number in range(MAX_SPAN_REPORTS + 5)
    ]
    app = replace(GATEWAY, scope=OURS, span_id=5_000)
    write(database_url, *flood, GATEWAY, app)
    operators = "SELECT count(*) FROM token_ledger_events WHERE token_organization_id = ''"
    assert ask(database_url, operators) == [(1,)]


def test_a_span_with_thousands_of_calls_within_it_is_settled_in_little_memory(
    database_url: str,
) -> None:
    outer = replace(GATEWAY, lasts_ms=60_000)
    inner = [
        replace(GATEWAY, scope=f"s{number}", response_id="", span_id=number + 1).within(outer).row
        for number in range(2_000)
    ]
    with closing(BatchWriter(database_url)) as writer:
        writer.write([outer.row, *inner])
    tracemalloc.start()
    with psycopg.connect(database_url) as connection:
        deduplicate_marked(connection)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 48 * 2**20
    assert ask(database_url, "SELECT count(*) FROM token_ledger_events WHERE NOT settled") == [(0,)]


def test_a_report_says_what_was_reported_twice_and_what_that_would_have_cost(
    database_url: str,
) -> None:
    write(database_url, GATEWAY, replace(FORGED, token="", scope=OURS))
    done = CliRunner().invoke(main, ["report", "--database-url", database_url])
    assert "1 duplicate report of a call was excluded: $0.0035 is not" in done.output
    document = CliRunner().invoke(
        main, ["report", "--format", "json", "--database-url", database_url]
    )
    [note] = json.loads(document.stdout)["coverage"]["notes"]
    assert note.startswith("1 duplicate report of a call was excluded: $0.0035")


def test_a_tenants_losses_are_only_in_its_own_coverage(database_url: str) -> None:
    write(database_url, GATEWAY)
    with closing(BatchWriter(database_url)) as writer:
        writer.count_loss("", "trace id or span id is missing", 100_000, "globex")
        writer.count_loss("shop", "the spool was full", 3)
        writer.count_loss("shop", "more than a count can hold", 2**70, "initech")
    lost = "SELECT sum(lost) FROM token_ledger_coverage"
    assert ask(database_url, lost) == [(3,)]
    losses = "SELECT organization_id, lost FROM token_ledger_organization_losses ORDER BY 1"
    assert ask(database_url, losses) == [("globex", 100_000), ("initech", 1_000_000_000)]

    def coverage(*more: str) -> Any:  # noqa: ANN401 - of a JSON document
        command = ["report", "--format", "json", "--database-url", database_url, *more]
        return json.loads(CliRunner().invoke(main, command).stdout)["coverage"]

    everything = coverage()
    assert everything["lost"] == 3
    assert everything["notes"] == [
        "1,000,100,000 records of tenants were lost: see token_ledger_organization_losses"
    ]
    assert coverage("--where", "organization=globex")["lost"] == 100_003


def test_a_tenants_attribution_is_stored_separately(
    database_url: str,
) -> None:
    """Settled again, the row is the same: its own word is known, and not taken for another's."""
    costlier = replace(FORGED, more={attributes.REQUEST_MODEL: "gpt-4-turbo", "user.id": "b=b"})
    write(database_url, GATEWAY, costlier)
    for _ in range(2):
        assert [row[1] for row in standing(database_url)] == ["gateway-user"]
        [(given,)] = ask(database_url, "SELECT copied_fields FROM token_ledger_duplicates")
        assert "user_id=b=b" in given
        with psycopg.connect(database_url) as connection:
            connection.execute("UPDATE token_ledger_events SET settled = false")
            connection.execute(
                "INSERT INTO token_ledger_dirty_minutes (minute)"
                " SELECT date_trunc('minute', timestamp) FROM token_ledger_events"
            )
        with psycopg.connect(database_url) as connection:
            deduplicate_marked(connection)


def test_a_tenants_flood_does_not_split_others_reports(database_url: str) -> None:
    gateway = replace(GATEWAY, more={ORGANIZATION: "acme", "user.id": "gw"})
    app = replace(gateway, scope=OURS, span_id=5_000)
    flood = [replace(FORGED, scope=f"s{n}", span_id=n + 10).row for n in range(240)]
    with closing(BatchWriter(database_url)) as writer:
        writer.write(flood)
    write(database_url, gateway)
    write(database_url, app)
    of_acme = [row for row in standing(database_url) if row[0] == "acme"]
    assert of_acme == [("acme", "gw", ONE_CALL)]


def test_spans_nested_in_thousands_of_each_other_hold_no_lock_for_long(database_url: str) -> None:
    """Each transaction settles a portion, however the rows hang together."""
    rows = [replace(GATEWAY, token="globex", response_id="", span_id=1)]
    for number in range(2, 1_500):
        rows.append(replace(rows[-1], span_id=number, scope=f"s{number}").within(rows[-1]))
    made = [structs.replace(report.row, ancestors=report.row.ancestors[:8]) for report in rows]
    with closing(BatchWriter(database_url)) as writer:
        writer.write(made)
    begun = time.monotonic()
    with psycopg.connect(database_url) as connection:
        deduplicate_marked(connection)
    assert time.monotonic() - begun < 20
    assert ask(database_url, "SELECT count(*) FROM token_ledger_events WHERE NOT settled") == [(0,)]


@pytest.mark.parametrize("order", BOTH_WAYS, ids=str)
def test_what_litellms_tokenizer_counts_is_no_other_call(
    database_url: str, order: tuple[int, int]
) -> None:
    """Its callback counts a stream by itself, whose usage we asked for: 27 for 1,000."""
    ours = CallReport(counts=(1_000, 50), more={"user.id": "ann"})
    litellm = replace(ours, scope="litellm", counts=(27, 7), more={}, span_id=5)
    both = [ours, litellm]
    write(database_url, *(both[place] for place in order))
    # 1,000 x 2.50/M + 50 x 10/M
    assert standing(database_url) == [("", "ann", Decimal("0.003"))]
