"""The causes of a change add up to it exactly, and a single change is one cause."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal, localcontext
from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenledger_exporter.queries.why.arithmetic import causes_of
from tokenledger_exporter.queries.why.cells import (
    EXACT,
    KINDS,
    Amount,
    Cell,
    Model,
    Tier,
    total_usd,
)

if TYPE_CHECKING:
    from tokenledger_exporter.queries.why.cells import Cells

GPT: Final = Model("openai", "gpt-4o")
MINI: Final = Model("openai", "gpt-4o-mini")
MODELS: Final = (GPT, MINI, Model("anthropic", "claude-opus-5"))

# Costs are in the ledger with all their digits.
COSTS: Final = st.decimals(min_value=0, max_value=10**6, places=12) | st.decimals(
    min_value=0, max_value=1, places=24
)


def amount(tokens: int, cost: Decimal) -> Amount:
    return Amount(tokens, cost if tokens else Decimal(0))


AMOUNTS: Final = st.builds(amount, st.integers(0, 10**9) | st.just(0), COSTS)
TIERS: Final = st.builds(
    Tier, st.sampled_from(["", "batch", "flex"]), st.tuples(*[AMOUNTS] * len(KINDS)), COSTS
)


def cell_of(calls: int, unknown: int, tiers: list[Tier], *, is_detailed: bool) -> Cell:
    """A cell as the ledger would return it: known calls have the costs and tokens."""
    known = max(0, calls - unknown)
    if not known:
        return Cell(calls, 0, Decimal(0), 0)
    cost, tokens = Decimal(0), 0
    for tier in tiers:
        for amount in tier.amounts:
            cost, tokens = EXACT.add(cost, amount.cost_usd), tokens + amount.tokens
        cost = EXACT.add(cost, tier.other_usd)
    if is_detailed:
        return Cell(calls, known, cost, tokens, tuple(tiers))
    return Cell(calls, known, cost, None if unknown else tokens)


def ledgers(*, is_detailed: bool) -> st.SearchStrategy[Cells]:
    def cell(number: int, unknown: int, tiers: list[Tier]) -> Cell:
        return cell_of(number, unknown, tiers, is_detailed=is_detailed)

    cells = st.builds(
        cell,
        st.integers(1, 10**6),
        st.integers(0, 5),
        st.lists(TIERS, min_size=1, max_size=3, unique_by=lambda tier: tier.name),
    )
    models = st.dictionaries(st.sampled_from(MODELS), cells, min_size=1)
    return st.dictionaries(st.sampled_from(["chat", "search", ""]), models)


PERIODS: Final[st.SearchStrategy[tuple[Cells, Cells]]] = st.booleans().flatmap(
    lambda is_detailed: st.tuples(*[ledgers(is_detailed=is_detailed)] * 2)
)


@given(PERIODS)
def test_the_causes_add_up_to_the_difference_to_the_last_digit(
    periods: tuple[Cells, Cells],
) -> None:
    before, after = periods
    causes = causes_of(before, after)
    total = Decimal(0)
    for cause in causes:
        drivers = Decimal(0)
        for driver in cause.drivers:
            drivers = EXACT.add(drivers, driver.change_usd)
        assert drivers == cause.change_usd
        total = EXACT.add(total, cause.change_usd)
    assert total == EXACT.subtract(total_usd(after), total_usd(before))
    sizes = [abs(cause.change_usd) for cause in causes]
    assert sizes == sorted(sizes, reverse=True)


@given(PERIODS)
def test_the_decimal_context_of_the_app_changes_nothing(periods: tuple[Cells, Cells]) -> None:
    expected = causes_of(*periods)
    with localcontext() as context:
        context.prec = 3
        assert causes_of(*periods) == expected


def calls(  # noqa: PLR0913 - one argument per figure
    number: int,
    *,
    uncached: int = 800,
    cached: int = 200,
    output: int = 100,
    price: str = "1",
    tiers: dict[str, tuple[int, str]] | None = None,
    unknown: int = 0,
) -> Cell:
    """Calls of 800 uncached, 200 cached and 100 output tokens at 2.50, 1.25 and 10 per million.

    `tiers` maps a tier to its share of the calls in percent and the factor of its prices.
    """
    parts: list[Tier] = []
    for name, (percent, factor) in (tiers or {"": (100, "1")}).items():
        of_tier = number * percent // 100
        rates = [Decimal(rate) * Decimal(price) * Decimal(factor) for rate in ("2.5", "1.25", "10")]
        tokens = [of_tier * each for each in (uncached, cached, output)]
        amounts = [
            Amount(count, count * rate / 1_000_000)
            for count, rate in zip(tokens, rates, strict=True)
        ]
        parts.append(Tier(name, (*amounts[:2], Amount(), amounts[2]), Decimal(0)))
    cell = cell_of(number, 0, parts, is_detailed=True)
    return replace(cell, calls=number + unknown)


USUAL: Final = calls(1_000)  # 1,000 x (800 x 2.5 + 200 x 1.25 + 100 x 10) / M = 3.25


@pytest.mark.parametrize(
    ("kind", "after", "change"),
    [
        # 500 calls more, at 0.00325 each
        ("calls", calls(1_500), "1.625"),
        # every count doubles: 3.25 more
        ("tokens", calls(1_000, uncached=1_600, cached=400, output=200), "3.25"),
        # 600 tokens a call move from 2.50 to 1.25 per million: 1,000 x 600 x -1.25 / M
        ("cache_share", calls(1_000, uncached=200, cached=800), "-0.75"),
        # 100 tokens a call move from input at 2.25 to output at 10: 1,000 x 100 x 7.75 / M
        ("output_share", calls(1_000, uncached=720, cached=180, output=200), "0.775"),
        # prices are 20 % higher
        ("price", calls(1_000, price="1.2"), "0.65"),
        # half of the calls move to a tier at half the price
        ("service_tier", calls(1_000, tiers={"": (50, "1"), "batch": (50, "0.5")}), "-0.8125"),
    ],
)
def test_a_single_change_is_the_only_cause(kind: str, after: Cell, change: str) -> None:
    [cause] = causes_of({"chat": {GPT: USUAL}}, {"chat": {GPT: after}})
    assert (cause.kind, cause.change_usd) == (kind, Decimal(change))
    assert {driver.value for driver in cause.drivers} == {"chat"}


def test_calls_that_move_to_another_model_are_model_mix() -> None:
    cheap = calls(500, price="0.06")
    causes = causes_of({"chat": {GPT: USUAL}}, {"chat": {GPT: calls(500), MINI: cheap}})
    [cause] = causes
    # 500 calls at 0.00325 x 0.06 instead of 0.00325
    assert (cause.kind, cause.change_usd) == ("model_mix", Decimal("-1.5275"))
    assert [driver.model for driver in cause.drivers] == ["gpt-4o-mini"]
    assert (cause.drivers[0].before, cause.drivers[0].after) == (Decimal(0), Decimal("0.5"))


def test_new_and_lost_values_are_causes_of_their_own() -> None:
    causes = causes_of({"old": {GPT: USUAL}}, {"new": {GPT: calls(2_000)}})
    assert [(c.kind, c.change_usd) for c in causes] == [
        ("new", Decimal("6.5")),
        ("lost", Decimal("-3.25")),
    ]


def test_calls_without_a_known_cost_are_not_counted_as_calls_that_cost_nothing() -> None:
    """100 more calls whose cost is not known: more calls, of which fewer have a cost."""
    after = {"chat": {GPT: calls(1_000, unknown=1_000)}}
    causes = causes_of({"chat": {GPT: USUAL}}, after)
    assert {c.kind: c.change_usd for c in causes} == {
        "calls": Decimal("3.25"),
        "coverage": Decimal("-3.25"),
    }
    causes = causes_of({"chat": {GPT: Cell(1_000, 0, Decimal(0), 0)}}, {"chat": {GPT: USUAL}})
    assert [(c.kind, c.change_usd) for c in causes] == [("coverage", Decimal("3.25"))]


def test_what_rounding_leaves_over_is_in_the_largest_cause() -> None:
    """A third of a cost has no end; the causes add up all the same."""
    before = {"chat": {GPT: Cell(3, 3, Decimal("0.01"), 7), MINI: Cell(4, 4, Decimal("0.02"), 9)}}
    after = {"chat": {GPT: Cell(7, 7, Decimal("0.05"), 13), MINI: Cell(2, 2, Decimal("0.03"), 1)}}
    causes = causes_of(before, after)
    assert sum(cause.change_usd for cause in causes) == Decimal("0.05")
    assert all(-d.change_usd.as_tuple().exponent <= 18 for c in causes for d in c.drivers)  # type: ignore[operator]


def test_calls_billed_without_tokens_change_in_other_costs() -> None:
    def speech(usd: str) -> Cell:
        tier = Tier("", (Amount(),) * len(KINDS), Decimal(usd))
        return Cell(10, 10, Decimal(usd), 0, (tier,))

    [cause] = causes_of({"tts": {GPT: speech("1")}}, {"tts": {GPT: speech("1.5")}})
    assert (cause.kind, cause.change_usd) == ("other", Decimal("0.5"))
