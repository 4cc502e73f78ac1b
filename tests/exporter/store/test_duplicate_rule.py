"""Which reports are one call, and which of them stands for it. Pure: no database."""

from __future__ import annotations

import pickle
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from itertools import permutations
from typing import Any, Final, TypeVar
from uuid import UUID

import pytest

from tokenledger_exporter.store.duplicate_rule import (
    NESTED_REASON,
    SAME_ID_REASON,
    SpanReport,
    group_reports,
)

_T = TypeVar("_T")
NOON: Final = datetime(2026, 11, 28, 12, tzinfo=timezone.utc)
MILLISECOND: Final = timedelta(milliseconds=1)
MICROSECOND: Final = timedelta(microseconds=1)
RESPONSE_ID: Final = "chatcmpl-AbCdEfGhIjKlMnOpQrStUv"
OURS: Final = "tokenledger.openai"
OPENLLMETRY: Final = "opentelemetry.instrumentation.anthropic"
COUNTS: Final = {"input_tokens": 1_000, "output_tokens": 100}


def report(number: int, scope: str = "", **fields: Any) -> SpanReport:  # noqa: ANN401 - any field
    """A report of a call of two seconds; each number has an emitter of its own."""
    defaults: dict[str, Any] = {
        "started_at": NOON,
        "ended_at": NOON + timedelta(seconds=2),
        "response_id": RESPONSE_ID,
        "models": frozenset({"gpt-4o"}),
        "counts": COUNTS,
    }
    values = {name: distinct(value) for name, value in (defaults | fields).items()}
    return SpanReport(UUID(int=number), scope=distinct(scope or f"emitter-{number}"), **values)


def named(one: SpanReport, name: str, value: str) -> SpanReport:
    """The report with another service tier or operation."""
    return (
        replace(one, service_tier=distinct(value))
        if name == "service_tier"
        else replace(one, operation=distinct(value))
    )


def distinct(value: _T) -> _T:
    """An equal value that is another object, as values from a database are."""
    copy: _T = pickle.loads(pickle.dumps(value))  # noqa: S301 - it was pickled here
    return copy


def inside(outer: int) -> tuple[UUID, ...]:
    return (UUID(int=outer),)


def counts(output: int, **more: int) -> dict[str, int]:
    return {"input_tokens": 1_000, "output_tokens": output, **more}


def calls(*reports: SpanReport) -> list[tuple[int, ...]]:
    """The numbers of the reports of each call, the winner first; the same in every order."""
    orders = list(permutations(reports)) if len(reports) < 5 else [reports, reports[::-1]]
    results = {
        tuple(
            sorted(
                (group.winner.event_id.int, *(loser.event_id.int for loser, _ in group.duplicates))
                for group in group_reports(order)
            )
        )
        for order in orders
    }
    assert len(results) == 1
    return list(results.pop())


def reasons(*reports: SpanReport) -> list[str]:
    return [reason for group in group_reports(reports) for _, reason in group.duplicates]


# Which reports are one call.


def test_two_emitters_with_one_response_id_report_one_call() -> None:
    assert calls(report(1), report(2)) == [(2, 1)]
    assert reasons(report(1), report(2)) == [SAME_ID_REASON]


def test_a_report_without_duplicates_is_a_call_of_its_own() -> None:
    assert calls(report(1), report(2, response_id="chatcmpl-another")) == [(1,), (2,)]
    assert calls(report(1, response_id=""), report(2, response_id="")) == [(1,), (2,)]
    assert calls() == []


@pytest.mark.parametrize(("length", "expected"), [(19, 2), (20, 1), (21, 1)])
def test_a_response_id_identifies_a_call_from_20_characters_on(length: int, expected: int) -> None:
    short = "chatcmpl-".ljust(length, "x")
    assert len(calls(report(1, response_id=short), report(2, response_id=short))) == expected


def test_a_nested_report_needs_no_unique_id() -> None:
    outer, inner = report(1, response_id="x-1"), report(2, response_id="x-1", ancestors=inside(1))
    assert calls(outer, inner) == [(2, 1)]
    assert reasons(outer, inner) == [NESTED_REASON]


def test_one_emitter_reports_two_calls_with_one_id() -> None:
    assert calls(report(1, "langfuse"), report(2, "langfuse")) == [(1,), (2,)]


def test_all_of_our_scopes_are_one_emitter() -> None:
    assert calls(report(1, OURS), report(2, "tokenledger.anthropic")) == [(1,), (2,)]


def test_our_scope_from_a_tenant_is_not_our_emitter() -> None:
    tenant = report(2, OURS, source="acme", organization="acme")
    assert calls(report(1, OURS, organization="acme"), tenant) == [(1, 2)]
    assert calls(report(1, "tokenledger.anthropic", organization="acme"), tenant) == [(1, 2)]


@pytest.mark.parametrize(
    ("later", "expected"),
    [(10 * MILLISECOND, 1), (10 * MILLISECOND + MICROSECOND, 2)],
    ids=["10 ms", "more"],
)
def test_a_report_may_start_10_ms_after_the_other_ended(later: timedelta, expected: int) -> None:
    one = report(1)
    other = report(2, started_at=one.ended_at + later, ended_at=one.ended_at + later)
    assert len(calls(one, other)) == expected


@pytest.mark.parametrize(
    ("later", "expected"),
    [(timedelta(minutes=10), 1), (timedelta(minutes=10) + MICROSECOND, 2)],
    ids=["10 min", "more"],
)
def test_starts_differ_by_at_most_10_minutes(later: timedelta, expected: int) -> None:
    end = NOON + timedelta(minutes=30)
    one, other = report(1, ended_at=end), report(2, ended_at=end, started_at=NOON + later)
    assert len(calls(one, other)) == expected


def test_a_distant_pair_does_not_hide_other_pairs() -> None:
    late = NOON + timedelta(hours=1)
    third = report(3, started_at=late, ended_at=late)
    fourth = report(4, started_at=late, ended_at=late)
    assert calls(report(1), report(2), third, fourth) == [(2, 1), (4, 3)]


def test_16_reports_with_one_id_are_one_call_and_17_are_another_kind_of_id() -> None:
    assert len(calls(*(report(number) for number in range(1, 17)))) == 1
    assert len(calls(*(report(number) for number in range(1, 18)))) == 17


def test_too_many_reports_of_a_tenant_do_not_split_the_operators_call() -> None:
    tenants = [report(n, source="acme", organization="acme") for n in range(1, 18)]
    operators = [report(n, organization="acme") for n in (21, 22)]
    assert (22, 21) in calls(*operators, *tenants)


def test_a_call_has_at_most_16_reports_of_all_sources() -> None:
    tenants = [report(n, source="acme", organization="acme") for n in range(1, 10)]
    operators = [report(n, organization="acme") for n in range(21, 30)]
    assert max(len(call) for call in calls(*operators[:7], *tenants)) == 16
    assert max(len(call) for call in calls(*operators, *tenants)) <= 16


def test_two_groups_of_reports_are_not_joined_into_more_than_16() -> None:
    later: dict[str, Any] = {
        "started_at": NOON + 50 * MILLISECOND,
        "ended_at": NOON + timedelta(seconds=3),
    }
    tenants = [report(n, source="acme", organization="acme", **later) for n in range(1, 9)]
    operators = [report(n, organization="acme") for n in range(21, 30)]
    assert sorted(len(call) for call in calls(*operators, *tenants)) == [8, 9]
    assert sorted(len(call) for call in calls(*operators[1:], *tenants)) == [16]


def test_a_nested_report_without_an_id_is_the_same_call() -> None:
    outer = report(1, response_id="")
    assert calls(outer, report(2, response_id="", ancestors=inside(1))) == [(2, 1)]
    assert calls(outer, report(2, ancestors=inside(1))) == [(2, 1)]


def test_an_ancestor_that_is_no_report_or_the_report_itself_changes_nothing() -> None:
    alone = report(1, response_id="", ancestors=(*inside(99), *inside(1)))
    assert calls(alone, report(2, response_id="")) == [(1,), (2,)]


def test_every_ancestor_may_be_the_same_call() -> None:
    inner = report(3, response_id="", ancestors=(*inside(99), *inside(2), *inside(1)))
    outer = [report(1, response_id=""), report(2, response_id="", ancestors=inside(1))]
    assert calls(*outer, inner) == [(3, 2, 1)]


def test_one_emitter_in_two_places_reports_one_call_only_if_all_criteria_match() -> None:
    gateway, app = report(1, OURS), report(2, OURS, ancestors=inside(1))
    assert calls(gateway, app) == [(2, 1)]
    assert reasons(gateway, app) == [NESTED_REASON]
    assert calls(gateway, replace(app, ancestors=())) == [(1,), (2,)]
    assert calls(replace(gateway, response_id=""), replace(app, response_id="")) == [(1,), (2,)]
    assert calls(gateway, replace(app, response_id="")) == [(1,), (2,)]
    assert calls(gateway, replace(app, response_id="a-1")) == [(1,), (2,)]
    assert calls(gateway, replace(app, response_id="z-1")) == [(1,), (2,)]
    assert calls(gateway, replace(app, counts={})) == [(1,), (2,)]


def test_an_emitter_of_another_vendor_in_two_places_reports_one_call() -> None:
    gateway, app = report(1, "langfuse"), report(2, "langfuse", ancestors=inside(1))
    assert calls(gateway, app) == [(2, 1)]


def test_a_nested_report_without_counts_is_the_same_call_if_the_model_is() -> None:
    outer = report(1, response_id="")
    failed = report(2, response_id="", ancestors=inside(1), counts={})
    assert calls(outer, failed) == [(1, 2)]
    assert calls(replace(outer, counts={}), failed) == [(2, 1)]
    assert calls(outer, replace(failed, models=frozenset({"o3"}))) == [(1,), (2,)]
    assert calls(replace(outer, counts={"images": 1}), replace(failed, counts=COUNTS)) == [
        (1,),
        (2,),
    ]


def test_a_nested_report_with_counts_of_another_model_name_is_the_same_call() -> None:
    outer = report(1, response_id="", models=frozenset({"my-deployment"}))
    assert calls(outer, report(2, response_id="", ancestors=inside(1))) == [(2, 1)]


def test_reports_with_different_counts_are_two_calls() -> None:
    assert calls(report(1), report(2, counts=counts(101))) == [(1,), (2,)]
    assert calls(report(1), report(2, counts={"input_tokens": 999})) == [(1,), (2,)]


def test_a_count_that_only_one_report_has_is_no_difference() -> None:
    assert calls(report(1), report(2, counts=counts(100, cached_tokens=5))) == [(2, 1)]
    assert calls(report(1), report(2, counts={"input_tokens": 1_000})) == [(1, 2)]


@pytest.mark.parametrize("scope", ["litellm", "another"])
def test_an_estimate_contradicts_nothing(scope: str) -> None:
    estimate = report(2, scope, counts=counts(140), is_estimated=scope == "another")
    assert len(calls(report(1), estimate)) == 1


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("chatcmpl-a", "chatcmpl-b", 2),
        ("msg_a", "msg_b", 2),
        ("msg_b", "msg_a", 2),
        ("chatcmpl-a", "gen-b", 1),
        ("msg_a", "gen-1-b", 1),
        ("msg-a", "msg_b", 2),
        ("msg_a", "", 1),
        ("gen_1_a", "gen_2_b", 2),
    ],
)
def test_a_call_has_one_id_of_each_kind(one: str, other: str, expected: int) -> None:
    outer, inner = report(1, response_id=one), report(2, response_id=other, ancestors=inside(1))
    assert len(calls(outer, inner)) == expected


@pytest.mark.parametrize(
    ("one", "other", "nested", "expected"),
    [
        ("acme", "acme", False, 1),
        ("acme", "", False, 1),
        ("acme", "globex", False, 2),
        ("acme", "globex", True, 1),
    ],
)
def test_two_organizations_share_a_call_only_if_it_is_nested(
    one: str, other: str, nested: bool, expected: int
) -> None:
    outer = report(1, organization=one)
    inner = report(2, organization=other, ancestors=inside(1) if nested else ())
    assert len(calls(outer, inner)) == expected


@pytest.mark.parametrize("ancestors", [(), inside(1)], ids=["apart", "nested"])
def test_a_tenant_shares_a_call_only_with_the_operators_report_of_that_tenant(
    ancestors: tuple[UUID, ...],
) -> None:
    tenant = report(2, source="acme", organization="acme", ancestors=ancestors)
    assert len(calls(report(1, organization="acme"), tenant)) == 1
    assert len(calls(report(1, organization=""), tenant)) == 2
    assert len(calls(report(1, organization="globex"), tenant)) == 2
    assert len(calls(report(1, organization="acme", source="globex"), tenant)) == 2


@pytest.mark.parametrize(
    ("output", "expected"), [(99, 2), (100, 1), (101, 1), (116, 1), (117, 2), (84, 2)]
)
@pytest.mark.parametrize("number", [1, 3], ids=["earlier", "later"])
def test_openllmetry_adds_up_to_16_output_tokens(number: int, output: int, expected: int) -> None:
    overcounted = report(number, OPENLLMETRY, counts=counts(output))
    assert len(calls(overcounted, report(2))) == expected


@pytest.mark.parametrize("scope", ["opentelemetry.instrumentation", "zzz"])
def test_other_emitters_do_not_miscount(scope: str) -> None:
    assert len(calls(report(1, scope, counts=counts(101)), report(2))) == 2


def test_openllmetry_miscounts_only_output() -> None:
    wrong = report(1, OPENLLMETRY, counts={"input_tokens": 1_001, "output_tokens": 101})
    assert len(calls(wrong, report(2))) == 2
    wrong = report(1, OPENLLMETRY, counts={"input_tokens": 1_001, "output_tokens": 100})
    assert len(calls(wrong, report(2))) == 2


# Which reports of several calls belong together.


def at(number: int, scope: str, start_ms: int, end_ms: int = 2_000) -> SpanReport:
    return report(
        number,
        scope,
        started_at=NOON + start_ms * MILLISECOND,
        ended_at=NOON + end_ms * MILLISECOND,
    )


def test_the_closest_reports_of_two_calls_with_one_id_are_paired() -> None:
    ours = at(1, OURS, 0), at(2, OURS, 100)
    assert calls(*ours, at(3, "x", 99), at(4, "x", 2)) == [(1, 4), (2, 3)]


def test_the_ends_count_as_much_as_the_starts() -> None:
    ours = at(1, OURS, 0, 1_000), at(2, OURS, 0, 1_500)
    assert calls(*ours, at(3, "x", 10, 1_490), at(4, "x", 10, 1_010)) == [(1, 4), (2, 3)]
    ours = at(1, OURS, 0, 1_500), at(2, OURS, 100, 1_000)
    assert calls(*ours, at(3, "x", 20, 990), at(4, "x", 90, 1_490)) == [(1, 4), (2, 3)]


def test_a_nested_pair_comes_before_a_closer_pair_with_one_id() -> None:
    ours = report(1, OURS, ancestors=inside(4)), at(2, OURS, 0)
    assert calls(*ours, at(3, "x", 0), at(4, "x", 50)) == [(1, 4), (2, 3)]


def test_nested_with_the_same_id_comes_before_nested() -> None:
    wrapper = report(9, "x")
    without = report(1, OURS, response_id="", ancestors=inside(9))
    with_id = report(2, OURS, ancestors=inside(9), ended_at=NOON + timedelta(seconds=1))
    assert calls(wrapper, without, with_id) == [(1,), (2, 9)]


def test_nested_without_an_id_comes_before_the_same_id() -> None:
    wrapper = report(9, "x")
    nested = report(
        1, OURS, response_id="", ancestors=inside(9), ended_at=NOON + timedelta(seconds=1)
    )
    assert calls(wrapper, nested, report(2, OURS)) == [(1, 9), (2,)]


def test_a_third_report_must_agree_with_both() -> None:
    one = report(1, counts=counts(100))
    cached = at(2, "b", 1)
    other = at(3, "c", 5)
    cached, other = (
        replace(cached, counts=counts(100, cached_tokens=5)),
        replace(other, counts=counts(100, cached_tokens=6)),
    )
    assert calls(one, cached, other) == [(2, 1), (3,)]


def test_a_call_has_one_report_of_an_emitter_unless_it_is_nested_there() -> None:
    app, gateway = report(1, OURS, ancestors=inside(2)), report(2, OURS)
    assert calls(app, gateway, report(3)) == [(1, 2, 3)]
    assert calls(report(1, OURS), report(2, "x"), at(3, OURS, 50)) == [(1, 2), (3,)]


def test_a_call_that_is_nested_anywhere_says_so() -> None:
    nested = report(1, response_id="x-1"), report(2, response_id="x-1", ancestors=inside(1))
    assert reasons(*nested) == [NESTED_REASON]
    inner = report(2, ancestors=inside(1))
    assert reasons(report(1), inner, report(3)) == [NESTED_REASON, NESTED_REASON]
    late = at(2, "b", 5), replace(at(3, "c", 5), ancestors=inside(2))
    assert reasons(report(1), *late) == [NESTED_REASON, NESTED_REASON]


# Which report stands for the call.


def test_a_report_with_counts_beats_ours_without() -> None:
    assert calls(report(1), report(2, OURS, counts={}, ancestors=inside(1))) == [(1, 2)]


def test_our_report_beats_a_more_complete_one() -> None:
    assert calls(report(1, OURS), report(2, counts=counts(100, cached_tokens=1))) == [(1, 2)]


def test_a_miscounting_emitter_ranks_last() -> None:
    fuller = report(2, OPENLLMETRY, counts=counts(101, cached_tokens=1))
    assert calls(report(1), fuller) == [(1, 2)]


def test_reports_rank_by_completeness_nesting_and_id() -> None:
    inner = report(1, ancestors=inside(2))
    assert calls(report(2, counts=counts(100, cached_tokens=1)), inner) == [(2, 1)]
    assert calls(inner, report(2)) == [(1, 2)]
    # A span that is no report of this call does not make a report an inner one.
    assert calls(report(1, ancestors=inside(98)), report(2)) == [(2, 1)]
    assert calls(report(1), report(2)) == [(2, 1)]


def test_a_measured_report_beats_our_estimate() -> None:
    ours = report(1, OURS, counts=counts(140), is_estimated=True)
    assert calls(ours, report(2)) == [(2, 1)]


def test_provider_counts_beat_tokenizer_counts() -> None:
    fuller = report(2, "litellm", counts=counts(140, cached_tokens=1))
    assert calls(report(1), fuller) == [(1, 2)]


@pytest.mark.parametrize(("seen", "winner"), [(5, 2), (16, 2), (17, 1)])
def test_of_an_aborted_stream_the_placeholder_is_no_count(seen: int, winner: int) -> None:
    other = report(1, counts=counts(seen))
    estimate = report(2, OURS, counts=counts(140), is_estimated=True)
    assert calls(other, estimate)[0][0] == winner


def test_the_longer_of_two_partial_streams_is_kept() -> None:
    estimates = [
        report(1, OURS, counts=counts(140), is_estimated=True),
        report(2, counts=counts(120), is_estimated=True),
    ]
    assert calls(*estimates) == [(1, 2)]
    longer = replace(estimates[1], counts=counts(150))
    assert calls(estimates[0], longer) == [(2, 1)]


def test_an_estimate_without_output_is_as_good_as_one_of_zero() -> None:
    ours = report(1, OURS, counts={"input_tokens": 1_000}, is_estimated=True)
    assert calls(ours, report(2, counts=counts(0), is_estimated=True)) == [(1, 2)]
    assert calls(ours, report(2, counts=counts(1), is_estimated=True)) == [(2, 1)]


def dollars(usd: str | None) -> Decimal | None:
    return None if usd is None else Decimal(usd)


@pytest.mark.parametrize(
    ("ours", "theirs", "winner"),
    [("0.01", "0.02", 2), ("0.02", "0.01", 1), (None, "0.00", 2), ("0", None, 1)],
)
@pytest.mark.parametrize("name", ["service_tier", "operation"])
def test_if_rates_differ_the_higher_cost_is_kept(
    name: str, ours: str | None, theirs: str | None, winner: int
) -> None:
    one = named(report(1, OURS, cost_usd=dollars(ours)), name, "one")
    other = named(report(2, cost_usd=dollars(theirs)), name, "other")
    assert calls(one, other)[0][0] == winner


@pytest.mark.parametrize("name", ["service_tier", "operation"])
def test_a_rate_that_only_one_report_names_is_no_dispute(name: str) -> None:
    one = report(1, OURS, cost_usd=Decimal("0.01"))
    other = report(2, cost_usd=Decimal("0.02"))
    assert calls(one, named(other, name, "batch")) == [(1, 2)]
    assert calls(named(one, name, "batch"), named(other, name, "batch")) == [(1, 2)]


def test_the_operators_own_sources_may_name_a_model_differently() -> None:
    one = report(1, OURS, cost_usd=Decimal("0.01"))
    other = report(2, cost_usd=Decimal("0.02"), models=frozenset({"my-deployment"}))
    assert calls(one, other) == [(1, 2)]


@pytest.mark.parametrize(
    ("operators", "tenants", "fields", "winner"),
    [
        ("0.01", "0.02", {"models": frozenset({"o3"})}, 9),
        ("0.01", "0.02", {"service_tier": "priority"}, 9),
        ("0.01", "0.02", {}, 1),
        ("0.02", "0.02", {"models": frozenset({"o3"})}, 1),
        ("0.03", "0.02", {"models": frozenset({"o3"})}, 1),
        (None, "0.02", {"models": frozenset({"o3"})}, 1),
        ("0.01", None, {"models": frozenset({"o3"})}, 1),
    ],
)
def test_a_tenants_report_is_kept_only_if_it_costs_more(
    operators: str | None, tenants: str | None, fields: dict[str, Any], winner: int
) -> None:
    one = report(1, organization="acme", cost_usd=dollars(operators), service_tier="default")
    other = report(9, source="acme", organization="acme", cost_usd=dollars(tenants), **fields)
    assert calls(one, other)[0][0] == winner


def test_a_tenants_fuller_report_does_not_replace_the_operators() -> None:
    fuller = counts(100, cached_tokens=1)
    tenant = report(9, OURS, source="acme", organization="acme", counts=fuller)
    assert calls(report(1, organization="acme"), tenant) == [(1, 9)]


def test_a_tenants_own_sources_may_name_a_model_differently() -> None:
    full = report(1, source="acme", organization="acme", counts=counts(100, cached_tokens=1))
    other = report(
        2,
        source="acme",
        organization="acme",
        models=frozenset({"my-deployment"}),
        cost_usd=Decimal("0.02"),
    )
    assert calls(full, other) == [(1, 2)]


def test_a_tenants_reports_are_ranked_among_themselves() -> None:
    cheap = report(7, source="acme", organization="acme", cost_usd=Decimal("0.01"))
    costly = [
        report(
            number,
            source="acme",
            organization="acme",
            service_tier=tier,
            cost_usd=Decimal(usd),
        )
        for number, tier, usd in ((8, "priority", "0.03"), (9, "flex", "0.02"))
    ]
    operators = [
        report(number, organization="acme", service_tier="default", cost_usd=Decimal("0.015"))
        for number in (1, 2)
    ]
    assert calls(*costly, cheap) == [(8, 9, 7)]
    assert calls(*operators, *costly, cheap) == [(8, 2, 1, 9, 7)]
