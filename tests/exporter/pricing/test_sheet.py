"""One price sheet: its bands and hours, and the arithmetic of a call by it, written out."""

from __future__ import annotations

from datetime import date, datetime, time, timezone
from decimal import Decimal, localcontext
from typing import TYPE_CHECKING, Any, Final

import pytest

from support.price_rows import price
from tokenledger_exporter.pricing.price_row import CostLine
from tokenledger_exporter.pricing.sheet import Sheet, compute
from tokenledger_semconv.tokens import TokenVector

if TYPE_CHECKING:
    from tokenledger_exporter.pricing.price_row import Cost, PriceRow

TEXT: Final = (
    price("input", "2"),
    price("cache_read", "0.5"),
    price("cache_write", "3"),
    price("cache_write_1h", "5"),
    price("output", "10"),
)
MEDIA: Final = (
    *TEXT,
    price("input_audio", "40"),
    price("input_image", "7"),
    price("cache_read_audio", "4"),
    price("cache_read_image", "1"),
    price("output_audio", "80"),
    price("output_image", "30"),
    price("web_search", "10", per=1_000),
    price("file_search", "2.5", per=1_000),
    price("code_execution", "0.03", per=1),
)


def sheet_of(*rows: PriceRow) -> Sheet:
    sheet = Sheet(rows[0])
    for row in rows:
        sheet.add(row)
    sheet.compute_text_rates()
    return sheet


def usd(per_million: str, tokens: int) -> Decimal:
    return Decimal(per_million) * tokens / 1_000_000


def parts(cost: Cost) -> tuple[Decimal, ...]:
    assert cost.total_usd == sum(
        (cost.input_usd, cost.cached_usd, cost.cache_write_usd, cost.output_usd, cost.tool_usd)
    )
    return cost.input_usd, cost.cached_usd, cost.cache_write_usd, cost.output_usd, cost.tool_usd


# The quick rates of calls with text only.


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        (TokenVector(1_000, 100), (usd("2", 1_000), 0, 0, usd("10", 100), 0)),
        (TokenVector(1_000, 100, 300), (usd("2", 700), usd("0.5", 300), 0, usd("10", 100), 0)),
        (TokenVector(1_000, 100, None, 200), (usd("2", 800), 0, usd("3", 200), usd("10", 100), 0)),
        (
            TokenVector(1_000, 100, 300, 200, 50),
            (
                usd("2", 500),
                usd("0.5", 300),
                usd("3", 150) + usd("5", 50),
                usd("10", 100),
                0,
            ),
        ),
        (
            TokenVector(1_000, 100, 1, 1, 1),
            (usd("2", 998), usd("0.5", 1), usd("5", 1), usd("10", 100), 0),
        ),
        (TokenVector(1_000, None), (usd("2", 1_000), 0, 0, 0, 0)),
        (TokenVector(None, 100), (0, 0, 0, usd("10", 100), 0)),
        (TokenVector(0, 0, 0, 0, 0), (0, 0, 0, 0, 0)),
    ],
)
def test_text_is_billed_by_its_rates(tokens: TokenVector, expected: tuple[Decimal, ...]) -> None:
    sheet = sheet_of(*TEXT)
    assert sheet.rates is not None
    quick = sheet.rates.cost(tokens)
    assert quick is not None
    assert parts(quick) == expected
    assert quick.price_id == "sheet-1"
    assert quick == compute(sheet, tokens)


@pytest.mark.parametrize(
    ("tokens", "applies"),
    [
        (TokenVector(10**9, 0), True),
        (TokenVector(10**9 + 1, 0), False),
        (TokenVector(0, 10**9), True),
        (TokenVector(0, 10**9 + 1), False),
    ],
)
def test_the_text_rates_apply_to_a_billion_tokens(tokens: TokenVector, applies: bool) -> None:
    rates = sheet_of(*TEXT).rates
    assert rates is not None
    assert (rates.cost(tokens) is not None) is applies


@pytest.mark.parametrize(("digits", "applies"), [(27, False), (28, True), (29, True)])
def test_the_quick_rates_need_28_digits(digits: int, applies: bool) -> None:
    rates = sheet_of(*TEXT).rates
    assert rates is not None
    with localcontext() as context:
        context.prec = digits
        assert (rates.cost(TokenVector(1, 1)) is not None) is applies


def test_the_quick_rates_apply_up_to_the_lowest_threshold() -> None:
    for extra in (
        (price("input", "4", above_input_tokens=200), price("output", "9", above_input_tokens=100)),
        (price("cache_read", "4", above_input_tokens=100),),
    ):
        rates = sheet_of(*TEXT, *extra).rates
        assert rates is not None
        assert rates.cost(TokenVector(100, 1)) is not None
        assert rates.cost(TokenVector(101, 1)) is None


@pytest.mark.parametrize(
    ("rate", "is_short"),
    [
        ("0.999999999999999", True),
        ("0.000000000000001", True),
        ("0.0000000000000001", False),
        ("1", False),
        ("1.5", False),
    ],
)
@pytest.mark.parametrize("kind", ["input", "cache_read", "cache_write", "cache_write_1h", "output"])
def test_a_rate_with_many_digits_has_no_quick_rates(kind: str, rate: str, is_short: bool) -> None:
    others = [row for row in TEXT if row.kind != kind]
    sheet = sheet_of(*others, price(kind, rate, per=1))
    assert (sheet.rates is not None) is is_short


def test_only_a_sheet_with_all_rates_of_text_has_quick_rates() -> None:
    assert sheet_of(price("input", "2"), price("output", "3")).rates is not None
    assert sheet_of(price("input", "2")).rates is None
    assert sheet_of(price("output", "2")).rates is None


@pytest.mark.parametrize("kind", ["request", "audio_second", "input_character", "image"])
def test_a_sheet_that_bills_more_than_text_has_no_quick_rates(kind: str) -> None:
    assert sheet_of(*TEXT, price(kind, "1")).rates is None


# Bands.


def test_a_rate_is_divided_with_50_digits() -> None:
    band = sheet_of(price("input", "1", per=3)).band("input", 0)
    assert band is not None
    assert band[0] == Decimal("0." + "3" * 50)


def test_a_threshold_applies_above_it_and_to_the_whole_call() -> None:
    rows = [
        price("input", str(usd), above_input_tokens=above)
        for usd, above in ((3, 100), (4, 200), (2, 0))
    ]
    sheet = sheet_of(*rows)
    for tokens, rate in ((0, 2), (100, 2), (101, 3), (200, 3), (201, 4)):
        cost = compute(sheet, TokenVector(input_tokens=tokens))
        assert cost.total_usd == Decimal(rate) * tokens / 1_000_000
    assert [row.above_input_tokens for row in sheet.rows] == [0, 100, 200]


def test_a_kind_with_a_price_only_above_a_threshold_has_none_below() -> None:
    sheet = sheet_of(price("input", "2", above_input_tokens=100))
    assert sheet.band("input", 100) is None
    assert sheet.band("input", 101) is not None


@pytest.mark.parametrize(
    ("kind", "priced_as"),
    [
        ("cache_read", "input"),
        ("cache_read_image", "input"),
        ("cache_write", "input"),
        ("cache_write_1h", "input"),
        ("input_image", "input"),
        ("output_image", "output"),
        ("input_audio", None),
        ("cache_read_audio", None),
        ("output_audio", None),
        ("web_search", None),
    ],
)
def test_a_kind_without_a_price_has_the_price_of_another(kind: str, priced_as: str | None) -> None:
    band = sheet_of(price("input", "2"), price("output", "10")).band(kind, 0)
    assert (band and band[1].kind) == priced_as


@pytest.mark.parametrize(
    ("kind", "priced_as"), [("cache_read_image", "cache_read"), ("cache_write_1h", "cache_write")]
)
def test_the_nearest_price_is_taken(kind: str, priced_as: str) -> None:
    rows = price("input", "2"), price("cache_read", "1"), price("cache_write", "3")
    band = sheet_of(*rows).band(kind, 0)
    assert band is not None
    assert band[1].kind == priced_as


# Times.


@pytest.mark.parametrize(
    ("fields", "at", "is_valid"),
    [
        ({}, "2026-01-01T00:00", True),
        ({"valid_from": date(2026, 7, 1)}, "2026-06-30T23:59", False),
        ({"valid_from": date(2026, 7, 1)}, "2026-07-01T00:00", True),
        ({"valid_to": date(2026, 7, 1)}, "2026-06-30T23:59", True),
        ({"valid_to": date(2026, 7, 1)}, "2026-07-01T00:00", False),
        ({"valid_to": date(2026, 7, 1)}, "2026-07-02T00:00", False),
        ({"valid_from": date(2026, 7, 1), "valid_to": date(2026, 8, 1)}, "2026-07-15T00:00", True),
        ({"daily_from": time(8), "daily_to": time(20)}, "2026-01-01T07:59", False),
        ({"daily_from": time(8), "daily_to": time(20)}, "2026-01-01T08:00", True),
        ({"daily_from": time(8), "daily_to": time(20)}, "2026-01-01T19:59", True),
        ({"daily_from": time(8), "daily_to": time(20)}, "2026-01-01T20:00", False),
        ({"daily_from": time(8), "daily_to": time(20)}, "2026-01-01T21:00", False),
        ({"daily_from": time(20), "daily_to": time(8)}, "2026-01-01T19:59", False),
        ({"daily_from": time(20), "daily_to": time(8)}, "2026-01-01T21:00", True),
        ({"daily_from": time(20), "daily_to": time(8)}, "2026-01-01T20:00", True),
        ({"daily_from": time(20), "daily_to": time(8)}, "2026-01-01T07:59", True),
        ({"daily_from": time(20), "daily_to": time(8)}, "2026-01-01T08:00", False),
        ({"daily_from": time(8), "daily_to": time(8)}, "2026-01-01T08:00", False),
        ({"daily_from": time(8)}, "2026-01-01T07:59", True),
        ({"daily_to": time(8)}, "2026-01-01T09:00", True),
        # A Friday, a Saturday and a Sunday.
        ({"weekdays": "12345"}, "2026-11-27T23:59", True),
        ({"weekdays": "12345"}, "2026-11-28T00:00", False),
        ({"weekdays": "67"}, "2026-11-29T23:59", True),
        ({"weekdays": "67"}, "2026-11-30T00:00", False),
        (
            {"weekdays": "12345", "daily_from": time(8), "daily_to": time(20)},
            "2026-11-27T07:59",
            False,
        ),
        (
            {"valid_to": date(2026, 7, 1), "daily_from": time(8), "daily_to": time(20)},
            "2026-07-01T09:00",
            False,
        ),
    ],
)
def test_a_sheet_is_valid_on_its_days_and_at_its_hours(
    fields: dict[str, Any], at: str, is_valid: bool
) -> None:
    timestamp = datetime.fromisoformat(at).replace(tzinfo=timezone.utc)
    assert sheet_of(price("input", "2", **fields)).is_valid_at(timestamp) is is_valid


# Audio, images, tools and lengths.


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        (
            {"input_tokens": 1_000, "audio_input_tokens": 100, "image_input_tokens": 30},
            (usd("2", 870) + usd("40", 100) + usd("7", 30), 0, 0, 0, 0),
        ),
        (
            {
                "input_tokens": 1_000,
                "cached_tokens": 600,
                "audio_input_tokens": 200,
                "cached_audio_tokens": 150,
                "image_input_tokens": 90,
                "cached_image_tokens": 20,
            },
            (
                usd("2", 280) + usd("40", 50) + usd("7", 70),
                usd("0.5", 430) + usd("4", 150) + usd("1", 20),
                0,
                0,
                0,
            ),
        ),
        # More audio or images than uncached input: they are billed up to it.
        ({"input_tokens": 100, "audio_input_tokens": 130}, (usd("40", 100), 0, 0, 0, 0)),
        ({"input_tokens": 100, "image_input_tokens": 130}, (usd("7", 100), 0, 0, 0, 0)),
        (
            {"input_tokens": 100, "audio_input_tokens": 60, "image_input_tokens": 130},
            (usd("40", 60) + usd("7", 40), 0, 0, 0, 0),
        ),
        (
            {"input_tokens": 100, "audio_input_tokens": 5, "cached_audio_tokens": 9},
            (usd("2", 100), usd("4", 9), 0, 0, 0),
        ),
        (
            {"input_tokens": 100, "image_input_tokens": 5, "cached_image_tokens": 9},
            (usd("2", 100), usd("1", 9), 0, 0, 0),
        ),
        (
            {"input_tokens": 1_000, "cache_write_tokens": 300, "cache_write_1h_tokens": 100},
            (usd("2", 700), 0, usd("3", 200) + usd("5", 100), 0, 0),
        ),
        (
            {"output_tokens": 100, "audio_output_tokens": 40, "image_output_tokens": 7},
            (0, 0, 0, usd("10", 53) + usd("80", 40) + usd("30", 7), 0),
        ),
        ({"output_tokens": 100, "audio_output_tokens": 140}, (0, 0, 0, usd("80", 100), 0)),
        ({"output_tokens": 100, "image_output_tokens": 140}, (0, 0, 0, usd("30", 100), 0)),
        (
            {"output_tokens": 100, "audio_output_tokens": 60, "image_output_tokens": 60},
            (0, 0, 0, usd("80", 60) + usd("30", 40), 0),
        ),
        (
            {
                "output_tokens": 1,
                "web_search_requests": 3,
                "file_search_requests": 5,
                "code_execution_requests": 7,
            },
            (0, 0, 0, usd("10", 1), Decimal("0.03") + Decimal("0.0125") + Decimal("0.21")),
        ),
        ({"output_tokens": 0, "web_search_requests": 1}, (0, 0, 0, 0, Decimal("0.01"))),
    ],
)
def test_every_kind_is_billed_once_at_its_own_rate(
    tokens: dict[str, int], expected: tuple[Decimal, ...]
) -> None:
    cost = compute(sheet_of(*MEDIA), TokenVector(**tokens))
    assert parts(cost) == expected
    assert cost.unpriced_kinds == ()
    assert cost.price_id == "sheet-1"


def test_the_lines_of_a_bill_name_each_kind_and_the_price_it_has() -> None:
    lines: list[CostLine] = []
    sheet = sheet_of(price("input", "2"), price("output", "10"))
    compute(sheet, TokenVector(1_000, 1, 400), lines)
    million = 1_000_000
    assert lines == [
        CostLine("input", "input", 600, Decimal(2), million, Decimal("0.0012")),
        CostLine("cache_read", "input", 400, Decimal(2), million, Decimal("0.0008")),
        CostLine("output", "output", 1, Decimal(10), million, Decimal("0.00001")),
    ]


def test_kinds_without_a_price_are_named_in_order() -> None:
    tokens = TokenVector(5, 3, audio_input_tokens=1, audio_output_tokens=1, web_search_requests=1)
    cost = compute(sheet_of(*TEXT), tokens)
    assert cost.unpriced_kinds == ("input_audio", "output_audio", "web_search")
    assert cost.total_usd == usd("2", 4) + usd("10", 2)


def test_a_request_fee_applies_once_if_the_sheet_has_one() -> None:
    fee = price("request", "0.005", per=1)
    cost = compute(sheet_of(*TEXT, fee), TokenVector(10, 1, web_search_requests=None))
    assert cost.tool_usd == Decimal("0.005")
    assert compute(sheet_of(*TEXT), TokenVector(10, 1)).tool_usd == 0


@pytest.mark.parametrize(
    ("kind", "count"),
    [
        ("audio_second", "audio_seconds"),
        ("input_character", "input_characters"),
        ("image", "images"),
    ],
)
def test_a_length_is_billed_if_the_sheet_prices_it(kind: str, count: str) -> None:
    tokens = TokenVector(10, 20)._replace(**{count: 7})
    only_length = sheet_of(price(kind, "0.5", per=1))
    # A model that is billed by length only does not bill its tokens.
    cost = compute(only_length, tokens)
    assert (cost.input_usd, cost.total_usd, cost.unpriced_kinds) == (
        Decimal("3.5"),
        Decimal("3.5"),
        (),
    )
    # The same tokens without a length have no price.
    assert compute(only_length, TokenVector(10, 20)).unpriced_kinds == ("input", "output")
    both = sheet_of(price(kind, "0.5", per=1), price("output", "10"))
    cost = compute(both, tokens)
    assert (cost.input_usd, cost.output_usd) == (Decimal("3.5"), usd("10", 20))
    assert cost.unpriced_kinds == ("input",)


def test_seconds_of_audio_are_billed_in_addition_to_tokens_unless_audio_tokens_are() -> None:
    counts = TokenVector(10, 20, audio_input_tokens=0, audio_seconds=7)
    assert compute(sheet_of(*TEXT), counts).unpriced_kinds == ("audio_second",)
    by_tokens = sheet_of(*TEXT, price("input_audio", "3"))
    assert compute(by_tokens, counts).unpriced_kinds == ()


def test_a_length_without_a_price_is_unpriced_only_if_there_are_no_tokens() -> None:
    sheet = sheet_of(*TEXT)
    assert compute(sheet, TokenVector(10, 20, input_characters=7)).unpriced_kinds == ()
    assert compute(sheet, TokenVector(audio_seconds=7)).unpriced_kinds == ("audio_second",)
    all_lengths = sheet_of(*(price(k, "1") for k in ("audio_second", "input_character", "image")))
    assert compute(all_lengths, TokenVector(10, 20, audio_seconds=7)).unpriced_kinds == ()
    by_images = sheet_of(price("image", "0.5", per=1))
    cost = compute(by_images, TokenVector(images=2, input_characters=9))
    assert (cost.total_usd, cost.unpriced_kinds) == (Decimal(1), ("input_character",))
