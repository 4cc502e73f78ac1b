"""What a call costs, whether that is known, and the note that says why not."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import pytest
from msgspec import structs

from support.price_rows import price
from tokenledger_exporter.pricing.book import PriceBook
from tokenledger_exporter.pricing.charge import (
    REPORTED_NOTE,
    Charge,
    charge,
    tier_doubt,
    unknown_notes,
)
from tokenledger_semconv.tokens import TokenVector

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tokenledger_exporter.pricing.price_row import PriceRow

NOON: Final = datetime(2026, 11, 28, 12, tzinfo=timezone.utc)
UNKNOWN: Final = (None,) * 6
ESTIMATED: Final = "output tokens were estimated; the provider reported no count"
ROWS: Final = (
    price("input", "2"),
    price("input", "4", above_input_tokens=200_000),
    price("cache_read", "0.5"),
    price("cache_write", "3"),
    price("output", "10"),
    price("web_search", "10", per=1_000),
)
USED: Final = TokenVector(
    input_tokens=1_000,
    output_tokens=100,
    cached_tokens=300,
    cache_write_tokens=200,
    web_search_requests=2,
)
# 500 x 2/M, 300 x 0.50/M, 200 x 3/M, 100 x 10/M, 2 x 10/1,000
PARTS: Final = tuple(map(Decimal, ("0.00100", "0.00015", "0.0006", "0.001", "0.02")))
AMOUNTS: Final = (Decimal("0.02275"), *PARTS)


@dataclass(frozen=True)
class Call:
    """A call with a price."""

    provider: str = "openai"
    priced_model: str = "model-x"
    operation: str = "chat"
    tokens: TokenVector = USED
    service_tier: str = ""
    inference_geo: str = ""
    refused: bool = False
    not_sent: bool = False
    estimated: bool = False
    shortest_turn: int | None = None
    input_of_other_kinds: Mapping[str, int] = field(default_factory=dict[str, int])
    missing_usage: str = ""
    reported_cost_usd: Decimal | None = None


def charged(*rows: PriceRow, **fields: Any) -> Charge:  # noqa: ANN401 - any field of the call
    book = PriceBook(rows or ROWS)
    return charge(replace(Call(), **fields), NOON, lambda _: book)


def test_a_call_with_a_price_is_priced_by_its_parts() -> None:
    assert charged() == Charge(AMOUNTS, "priced", "sheet-1", "")
    assert charged().cost_usd == Decimal("0.02275")
    assert charged().columns == {
        "cost_usd": Decimal("0.02275"),
        "input_cost_usd": Decimal("0.001"),
        "cached_cost_usd": Decimal("0.00015"),
        "cache_write_cost_usd": Decimal("0.0006"),
        "output_cost_usd": Decimal("0.001"),
        "tool_cost_usd": Decimal("0.02"),
        "cost_status": "priced",
        "price_id": "sheet-1",
        "cost_note": "",
    }


def test_a_free_operation_costs_nothing() -> None:
    free = Charge((Decimal(0),) * 6, "priced", "free:moderation", "")
    assert charged(operation="moderation", tokens=TokenVector()) == free
    refused = charged(operation="moderation", refused=True)
    assert refused == structs.replace(free, note="the provider rejected the request")


def test_a_refused_call_costs_nothing() -> None:
    expected = Charge((Decimal(0),) * 6, "priced", "", "the provider rejected the request")
    assert charged(refused=True) == expected


def test_a_call_that_was_not_sent_costs_nothing() -> None:
    expected = Charge((Decimal(0),) * 6, "priced", "", "no connection; nothing was sent")
    assert charged(refused=True, not_sent=True) == expected


def test_a_call_without_counts_is_unmeasured() -> None:
    expected = Charge(UNKNOWN, "unmeasured", "", "no usage")
    assert charged(tokens=TokenVector(), missing_usage="no usage") == expected


def test_counts_that_contradict_each_other_have_no_price() -> None:
    wrong = TokenVector(input_tokens=1, cached_tokens=2, cache_write_tokens=-1)
    note = "cache_write_tokens is negative"
    assert charged(tokens=wrong) == Charge(UNKNOWN, "unpriced", "", note)
    wrong = TokenVector(input_tokens=-1, output_tokens=-2)
    note = "input_tokens is negative; output_tokens is negative"
    assert charged(tokens=wrong) == Charge(UNKNOWN, "unpriced", "", note)


@pytest.mark.parametrize(
    ("fields", "note"),
    [
        ({"priced_model": "model-y"}, "no price for model-y at openai"),
        ({"priced_model": ""}, "no price: the call names no model"),
        ({"provider": ""}, "no price for model-x: the call names no provider"),
        (
            {"service_tier": "fast"},
            "no price for model-x at openai on the tier fast",
        ),
        (
            {
                "priced_model": "y",
                "estimated": True,
                "missing_usage": "a; unknown: b; c; unknown: d",
            },
            f"no price for y at openai; {ESTIMATED}; unknown: b; unknown: d",
        ),
    ],
)
def test_a_call_without_a_price_names_what_has_none(fields: dict[str, Any], note: str) -> None:
    assert charged(**fields) == Charge(UNKNOWN, "unpriced", "", note)


def test_a_call_that_is_priced_in_part_names_the_rest() -> None:
    tokens = TokenVector(input_tokens=1_000, output_tokens=100, audio_output_tokens=40)
    # 1,000 x 2/M, 60 x 10/M
    amounts = (Decimal("0.0026"), Decimal("0.002"), Decimal(0), Decimal(0), Decimal("0.0006"))
    expected = Charge((*amounts, Decimal(0)), "partial", "sheet-1", "no price for output_audio")
    assert charged(tokens=tokens) == expected
    both = charged(tokens=tokens, estimated=True, missing_usage="unknown: searches")
    note = f"{ESTIMATED}; no price for output_audio; unknown: searches"
    assert both == Charge(expected.amounts, "estimated", "sheet-1", note)


def test_a_call_without_any_priced_kind_is_unpriced() -> None:
    audio = TokenVector(
        audio_input_tokens=5, input_tokens=5, output_tokens=3, audio_output_tokens=3
    )
    note = "no price for input_audio, output_audio of model-x at openai"
    assert charged(tokens=audio) == Charge(UNKNOWN, "unpriced", "", note)


def test_a_free_call_of_a_priced_model_is_no_unpriced_call() -> None:
    free = charged(tokens=TokenVector(input_tokens=0), missing_usage="unknown: output")
    assert (free.status, free.cost_usd, free.note) == ("partial", Decimal(0), "unknown: output")


def test_an_estimated_output_is_a_status_of_its_own() -> None:
    assert charged(estimated=True) == Charge(AMOUNTS, "estimated", "sheet-1", ESTIMATED)


def test_a_missing_count_makes_the_cost_partial() -> None:
    partial = charged(missing_usage="unknown: searches")
    assert partial == Charge(AMOUNTS, "partial", "sheet-1", "unknown: searches")
    assert unknown_notes(partial.note + "; a; unknown: b") == ["unknown: searches", "unknown: b"]
    assert unknown_notes("") == []


@pytest.mark.parametrize(
    ("shortest", "longest", "is_doubted"),
    [
        (100_000, 200_001, True),
        (200_000, 200_001, True),
        (200_001, 300_000, False),
        (100_000, 200_000, False),
        (0, 199_999, False),
        (None, 300_000, False),
    ],
)
def test_several_turns_on_both_sides_of_a_threshold_are_doubted(
    shortest: int | None, longest: int, is_doubted: bool
) -> None:
    made = charged(tokens=TokenVector(input_tokens=longest), shortest_turn=shortest)
    note = "unknown: whether the price depends on each turn or on their sum" if is_doubted else ""
    assert (made.status, made.note) == ("partial" if is_doubted else "priced", note)
    assert made.cost_usd == Decimal(4 if longest > 200_000 else 2) * longest / 1_000_000


def test_turns_of_another_tier_are_no_batch() -> None:
    made = charged(shortest_turn=1_000, service_tier="flex")
    assert (made.status, made.note) == ("priced", "")


def test_turns_without_input_tokens_are_not_doubted() -> None:
    made = charged(tokens=TokenVector(output_tokens=1), shortest_turn=0)
    assert (made.status, made.note) == ("priced", "")


# The tier comes from a sender: it may be an equal text that is another object.
@pytest.mark.parametrize("batch", ["batch", "".join("batch")], ids=["same", "equal"])
def test_a_batch_without_a_batch_price_is_charged_too_much_and_says_so(batch: str) -> None:
    note = "no batch price for model-x: the standard rate is too high"
    assert charged(service_tier=batch) == Charge(AMOUNTS, "partial", "sheet-1", note)
    one_price = charged(price("output", "10"), service_tier=batch, tokens=TokenVector(0, 5))
    assert one_price.note == note


LOW, HIGH = (f"the standard rate is too {effect}" for effect in ("low", "high"))


@pytest.mark.parametrize(
    ("provider", "tier", "doubt"),
    [
        ("google", "priority", f"no priority price for model-x: {LOW}"),
        ("google", "ON_DEMAND_PRIORITY", f"no priority price for model-x: {LOW}"),
        ("aws", "flex", f"no flex price for model-x: {HIGH}"),
        ("azure", "priority", f"no priority price for model-x: {LOW}"),
        ("azure", "flex", ""),
        ("groq", "flex", ""),
        ("openai", "priority", ""),
        ("google", "standard", ""),
    ],
)
def test_a_tier_that_the_provider_bills_apart_is_doubted_without_a_price(
    provider: str, tier: str, doubt: str
) -> None:
    assert tier_doubt(provider, "model-x", tier, "standard") == doubt
    assert not tier_doubt(provider, "model-x", tier, tier)


def test_a_batch_with_a_batch_price_is_priced() -> None:
    rows = [price(row.kind, str(row.usd / 2), per=row.per, tier="batch") for row in ROWS]
    made = charged(*rows[:1], *rows[2:], service_tier="batch")
    assert (made.status, made.note) == ("priced", "")
    assert made.cost_usd == Decimal("0.02275") / 2


REPORTED = Decimal("0.03")


def test_a_reported_cost_does_not_replace_a_price() -> None:
    assert charged(reported_cost_usd=REPORTED) == charged()


def test_a_reported_cost_is_the_cost_of_a_call_without_a_price() -> None:
    money = charged(priced_model="model-y", reported_cost_usd=REPORTED)
    assert money.amounts == (REPORTED, None, None, None, None, None)
    assert (money.status, money.price_id) == ("reported", "reported")
    assert money.note == f"{REPORTED_NOTE}; no price for model-y at openai"


def test_a_reported_cost_is_the_cost_of_a_call_without_counts() -> None:
    money = charged(
        tokens=TokenVector(),
        missing_usage="the provider reported no usage",
        reported_cost_usd=REPORTED,
    )
    assert (money.cost_usd, money.status) == (REPORTED, "reported")
    assert money.note == f"{REPORTED_NOTE}; the provider reported no usage"


def test_a_reported_cost_is_the_cost_of_counts_that_contradict_each_other() -> None:
    """OpenRouter: cache reads and writes (4322) exceed input (2168), and its cost is known."""
    wrong = TokenVector(input_tokens=2168, output_tokens=10, cached_tokens=4322)
    money = charged(tokens=wrong, reported_cost_usd=REPORTED)
    assert (money.cost_usd, money.status) == (REPORTED, "reported")


def test_a_preferred_reported_cost_is_the_cost_of_a_call_with_a_price() -> None:
    book = PriceBook(ROWS, prefers_reported=True)
    money = charge(Call(reported_cost_usd=REPORTED), NOON, lambda _: book)
    assert (money.cost_usd, money.status, money.note) == (REPORTED, "reported", REPORTED_NOTE)
    assert charge(Call(), NOON, lambda _: book) == charged()


@pytest.mark.parametrize(
    "fields", [{"refused": True}, {"operation": "moderation"}], ids=["refused", "free"]
)
def test_a_call_that_costs_nothing_stays_free_unless_the_reported_cost_is_preferred(
    fields: dict[str, Any],
) -> None:
    assert charged(reported_cost_usd=REPORTED, **fields).cost_usd == 0
