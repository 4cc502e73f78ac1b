"""Which sheet of a price book a call has: by provider, name, tier, place and time."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Final

import pytest

from support.price_rows import price
from tokenledger_exporter.pricing import book
from tokenledger_exporter.pricing.book import (
    PriceBook,
    free_sheet,
    has_own_price,
    plain_usd,
    tier_at,
)
from tokenledger_exporter.pricing.sheet import Sheet
from tokenledger_semconv.tokens import TokenVector

NOON: Final = datetime(2026, 11, 28, 12, tzinfo=timezone.utc)
MILLION: Final = TokenVector(1_000_000, 0)


def usd(
    made: PriceBook, model: str = "model-x", tier: str = "", at: datetime = NOON
) -> Decimal | None:
    """What a million input tokens cost."""
    cost = made.cost("openai", model, at, tier, MILLION)
    return None if cost is None else cost.total_usd


@pytest.mark.parametrize(
    ("tier", "expected"),
    [
        ("", 2),
        ("default", 2),
        ("auto", 2),
        ("standard", 2),
        ("STANDARD_ONLY", 2),
        ("scale", 2),
        ("flex", 1),
        ("FLEX", 1),
        ("priority", 2),
        ("turbo", 7),
        ("turbo@eu", 7),
        ("fast", None),
        ("ultrafast", None),
        ("@eu", 3),
        ("@us", 2),
        ("flex@eu", 1),
        ("priority@eu", 3),
        ("priority@us", 2),
        ("batch@eu", 5),
        ("batch", 2),
        ("fast@eu", None),
    ],
)
def test_a_tier_has_its_own_sheet_or_the_standard_one(tier: str, expected: int | None) -> None:
    made = PriceBook(
        price("input", amount, price_id=name, tier=name)
        for name, amount in (
            ("standard", "2"),
            ("flex", "1"),
            ("standard@eu", "3"),
            ("batch@eu", "5"),
            ("turbo", "7"),
        )
    )
    assert usd(made, tier=tier) == expected
    assert usd(made, tier=tier) == expected


def test_a_custom_price_overrides_only_its_tier() -> None:
    made = PriceBook(
        [
            price("input", "2", price_id="a"),
            price("input", "1", price_id="b", tier="flex"),
            price("input", "9", price_id="c", source="contract", match_order=5),
            price("input", "8", price_id="d", source="contract", match_order=4),
        ]
    )
    assert usd(made) == 8
    assert usd(made, tier="flex") == 1
    assert made.sheets("openai", "model-x") == ("d", "c", "a", "b")


def test_ties_are_broken_by_price_id() -> None:
    rows = [price("input", str(n), price_id=f"p{n}", source="contract") for n in (3, 1, 2)]
    assert usd(PriceBook(rows)) == 1


def test_the_first_matching_pattern_of_the_list_prices_a_name() -> None:
    made = PriceBook(
        [
            price("input", "2", price_id="a", model_pattern="^model", match_order=2),
            price("input", "1", price_id="b", model_pattern="^model-x", match_order=1, model="y"),
        ]
    )
    assert usd(made) == 1
    assert usd(made, "MODEL-Z") == 2
    assert usd(made, "other") is None
    assert made.sheets("openai", "model-x") == ("b",)


def test_a_pattern_without_a_valid_sheet_gives_way_to_the_next() -> None:
    made = PriceBook(
        [
            price("input", "2", price_id="a", model_pattern="^model", match_order=2),
            price("input", "1", price_id="b", match_order=1, valid_to=date(2026, 1, 1)),
        ]
    )
    assert usd(made) == 2
    assert usd(made, at=datetime(2025, 12, 31, tzinfo=timezone.utc)) == 1


@pytest.mark.parametrize(
    ("name", "pattern", "is_priced"),
    [
        ("model-20261128", "^model-2026-11-28$", True),
        ("model-20261128:x", "^model-2026-11-28:x$", True),
        ("model-20261128", "^model-20261128$", True),
        ("model-20261128-latest", "^model-20261128-latest$", True),
        ("model-20261328", "^model-2026-13-28$", False),
        ("model-latest", "^model$", True),
        ("model-latest-1", "^model-1$", False),
    ],
)
def test_a_name_may_be_spelled_otherwise(name: str, pattern: str, is_priced: bool) -> None:
    assert (usd(PriceBook([price("input", "2", model_pattern=pattern)]), name) == 2) is is_priced


def test_prices_change_at_midnight_utc_and_are_cached_no_longer() -> None:
    made = PriceBook(
        [
            price("input", "1", price_id="a", valid_to=date(2026, 11, 28)),
            price(
                "input",
                "2",
                price_id="b",
                valid_from=date(2026, 11, 28),
                valid_to=date(2026, 11, 29),
            ),
            price("input", "3", price_id="c", valid_from=date(2026, 11, 29)),
        ]
    )
    midnight = datetime(2026, 11, 28, tzinfo=timezone.utc)
    moment = timedelta(microseconds=1)
    times = [
        (midnight - moment, 1),
        (midnight, 2),
        (midnight + timedelta(days=1) - moment, 2),
        (midnight + timedelta(days=1), 3),
        (midnight - timedelta(days=9), 1),
        (midnight + timedelta(days=9), 3),
    ]
    for first in times:
        for at, expected in (first, *times):
            assert usd(made, at=at) == expected
    in_tokyo = timezone(timedelta(hours=9))
    assert usd(made, at=datetime(2026, 11, 29, 8, 59, tzinfo=in_tokyo)) == 2
    assert usd(made, at=datetime(2026, 11, 29, 9, 0, tzinfo=in_tokyo)) == 3


def test_prices_that_change_by_the_hour_are_not_cached() -> None:
    made = PriceBook(
        [
            price("input", "1", price_id="a", daily_from=time(20), daily_to=time(8)),
            price("input", "2", price_id="b", daily_from=time(8), daily_to=time(20)),
        ]
    )
    for hour, expected in ((12, 2), (21, 1), (12, 2)):
        assert usd(made, at=NOON.replace(hour=hour)) == expected


def test_made_up_names_do_not_fill_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(book, "_MAX_CACHED", int("300"))
    made = PriceBook([price("input", "2", model_pattern="^model")])
    for number in range(310):
        assert usd(made, f"model-{number}") == 2
    assert len(getattr(made, "_candidate_cache")) == 300  # noqa: B009 - no public size
    assert len(getattr(made, "_sheet_cache")) == 300  # noqa: B009 - no public size
    monkeypatch.undo()
    assert getattr(book, "_MAX_CACHED") == 4_096  # noqa: B009 - the limit itself


def test_media_are_billed_whether_the_text_is_cached_or_not() -> None:
    made = PriceBook(
        [
            price("input", "2"),
            price("output", "10"),
            price("output_audio", "80"),
        ]
    )
    for tokens, expected in (
        (TokenVector(0, 100), "0.001"),
        (TokenVector(0, 100, audio_output_tokens=100), "0.008"),
        (TokenVector(0, 100, reasoning_tokens=50), "0.001"),
        (TokenVector(2 * 10**9, 0), "4000"),
    ):
        cost = made.cost("openai", "model-x", NOON, "", tokens)
        assert cost is not None
        assert cost.total_usd == Decimal(expected)


def test_a_bill_is_by_one_sheet() -> None:
    made = PriceBook([price("input", "2"), price("input", "4", price_id="other", tier="flex")])
    bill = made.bill("other", MILLION)
    assert bill is not None
    assert bill[0].total_usd == 4
    assert len(bill[1]) == 1
    assert made.bill("unknown", MILLION) is None
    assert [row.usd for row in made.sheet("openai", "model-x", NOON, "flex")] == [4]
    assert made.sheet("openai", "other", NOON) == ()


def test_price_book_messages() -> None:
    assert (free_sheet("openai", "moderation"), free_sheet("openai", "chat")) == (
        "free:moderation",
        "",
    )
    assert (tier_at("flex", ""), tier_at("flex", "eu"), tier_at("", "eu")) == (
        "flex",
        "flex@eu",
        "@eu",
    )
    assert (has_own_price("FAST"), has_own_price("flex")) == (True, False)


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        ("0.002750", "0.00275"),
        ("1E-7", "0.0000001"),
        ("100", "100"),
        ("1E+2", "100"),
        ("2.00", "2"),
    ],
)
def test_an_amount_has_all_its_digits_and_no_more(amount: str, text: str) -> None:
    assert plain_usd(Decimal(amount)) == text


@pytest.mark.parametrize("first", [datetime(2026, 11, 1, tzinfo=timezone.utc), NOON])
def test_a_sheet_is_searched_for_once_in_its_period(
    first: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    october, november, december = date(2026, 10, 1), date(2026, 11, 1), date(2026, 12, 1)
    made = PriceBook(
        price("input", amount, price_id=amount, valid_from=since, valid_to=until)
        for amount, since, until in (
            ("1", october, november),
            ("2", november, december),
            ("3", december, None),
        )
    )
    assert usd(made, at=first) == 2
    searched: list[datetime] = []
    is_valid_at = Sheet.is_valid_at

    def count(sheet: Sheet, moment: datetime) -> bool:
        searched.append(moment)
        return is_valid_at(sheet, moment)

    monkeypatch.setattr(Sheet, "is_valid_at", count)
    for moment in (
        datetime(2026, 11, 1, tzinfo=timezone.utc),
        NOON,
        datetime(2026, 11, 30, 23, 59, 59, 999_999, tzinfo=timezone.utc),
    ):
        assert usd(made, at=moment) == 2
    assert searched == []
    assert usd(made, at=datetime(2026, 12, 1, tzinfo=timezone.utc)) == 3
    assert searched


def test_text_alone_is_priced_without_the_full_arithmetic(monkeypatch: pytest.MonkeyPatch) -> None:
    made = PriceBook([price("input", "2"), price("output", "8")])

    def refuse(*_: object) -> None:
        pytest.fail("a call of text alone has quick rates")

    monkeypatch.setattr(book, "compute", refuse)
    assert usd(made) == 2
