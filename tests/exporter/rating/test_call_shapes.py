"""Every kind of call a provider bills becomes one row, with the arithmetic written out."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from support.ledger_rows import HEADER, build_row, chat_attributes, package_book, record, row
from tokenledger_exporter.store.batch import WriteResult
from tokenledger_exporter.store.writer import BatchWriter
from tokenledger_semconv import attributes

if TYPE_CHECKING:
    from tokenledger_exporter.domain.span_record import AttributeValue

# Status and note of a call whose whole cost is known.
SOUND = ("priced", "")


def mtok(usd_per_million: str, tokens: int) -> Decimal:
    """Dollars for tokens at a price a million."""
    return Decimal(usd_per_million) * tokens / 1_000_000


def mchars(usd_per_million: str, characters: int) -> Decimal:
    """Dollars for characters at a price a million."""
    return Decimal(usd_per_million) * characters / 1_000_000


def hours(usd_per_hour: str, seconds: int) -> Decimal:
    """Dollars for seconds at a price an hour, to the 50 digits the ledger counts with."""
    return Decimal(usd_per_hour) * seconds / 3_600


def call(operation: str, model: str, **usage: AttributeValue) -> dict[str, AttributeValue]:
    """A call of OpenAI with nothing but this usage; keywords use `__` for dots."""
    told: dict[str, AttributeValue] = {
        attributes.OPERATION_NAME: operation,
        attributes.PROVIDER_NAME: "openai",
        attributes.REQUEST_MODEL: model,
    }
    return told | {key.replace("__", "."): value for key, value in usage.items()}


def test_a_legacy_completion_is_priced_by_its_tokens() -> None:
    made = row(
        call(
            "text_completion",
            "gpt-3.5-turbo-instruct",
            gen_ai__usage__input_tokens=1_000,
            gen_ai__usage__output_tokens=200,
        )
    )
    assert made.cost_usd == mtok("1.5", 1_000) + mtok("2", 200)
    assert (made.cost_status, made.operation) == ("priced", "text_completion")


def test_an_image_is_priced_by_its_text_and_image_tokens() -> None:
    made = row(
        call(
            "image_generation",
            "gpt-image-1.5",
            gen_ai__usage__input_tokens=400,
            gen_ai__usage__image__input_tokens=300,
            gen_ai__usage__output_tokens=1_100,
            gen_ai__usage__image__output_tokens=1_056,
            tokenledger__usage__images=1,
        )
    )
    assert made.cost_usd == mtok("5", 100) + mtok("8", 300) + mtok("10", 44) + mtok("32", 1_056)
    assert (made.cost_status, made.cost_note, made.images) == (*SOUND, 1)


def test_an_image_whose_output_has_one_price_is_billed_at_it() -> None:
    made = row(
        call(
            "image_generation",
            "gpt-image-1",
            gen_ai__usage__input_tokens=50,
            gen_ai__usage__image__input_tokens=0,
            gen_ai__usage__output_tokens=4_160,
            gen_ai__usage__image__output_tokens=4_160,
        )
    )
    assert made.cost_usd == mtok("5", 50) + mtok("40", 4_160)


def test_an_image_counted_only_as_an_image_is_unpriced_and_measured() -> None:
    """DALL-E has no price per token: the row keeps the count, and no price is guessed."""
    made = row(call("image_generation", "dall-e-3", tokenledger__usage__images=2))
    assert (made.cost_usd, made.cost_status, made.images) == (None, "unpriced", 2)
    assert made.cost_note == "no price for dall-e-3 at openai"


def test_a_transcription_by_tokens_bills_audio_at_its_own_rate() -> None:
    made = row(
        call(
            "transcription",
            "gpt-4o-transcribe",
            gen_ai__usage__input_tokens=320,
            gen_ai__usage__audio__input_tokens=300,
            gen_ai__usage__output_tokens=80,
        )
    )
    assert made.cost_usd == mtok("2.5", 20) + mtok("6", 300) + mtok("10", 80)
    assert (made.cost_status, made.cost_note) == SOUND


@pytest.mark.parametrize("operation", ["transcription", "translation"])
def test_audio_billed_by_the_second_needs_no_tokens(operation: str) -> None:
    made = row(call(operation, "whisper-1", tokenledger__usage__audio_seconds=600))
    assert made.cost_usd == hours("0.36", 600) == Decimal("0.06")
    assert (made.cost_status, made.cost_note, made.audio_seconds) == (*SOUND, 600)
    assert (made.input_tokens, made.output_tokens, made.total_tokens) == (None, None, None)


def test_tokens_of_a_model_sold_by_the_hour_are_not_billed_too() -> None:
    made = row(
        call(
            "transcription",
            "gpt-transcribe",
            tokenledger__usage__audio_seconds=600,
            gen_ai__usage__input_tokens=900,
            gen_ai__usage__output_tokens=80,
        )
    )
    assert made.cost_usd == hours("0.27", 600)
    assert (made.cost_status, made.cost_note, made.input_tokens) == (*SOUND, 900)


def test_seconds_of_a_model_sold_by_tokens_are_not_billed_too() -> None:
    told = call(
        "transcription",
        "gpt-4o-transcribe",
        gen_ai__usage__input_tokens=320,
        gen_ai__usage__audio__input_tokens=300,
        gen_ai__usage__output_tokens=80,
    )
    assert row(told | {attributes.AUDIO_SECONDS: 30}).cost_usd == row(told).cost_usd


def test_one_second_is_priced_with_fifty_digits() -> None:
    made = row(call("transcription", "whisper-1", tokenledger__usage__audio_seconds=1))
    assert made.cost_usd == Decimal("0.0001")


def test_an_hour_with_two_prices_is_billed_once() -> None:
    """The package lists Whisper's hour twice, as any audio and as input."""
    made = row(call("transcription", "whisper-1", tokenledger__usage__audio_seconds=3_600))
    assert made.cost_usd == Decimal("0.36")


@pytest.mark.parametrize(("model", "price"), [("tts-1", "15"), ("tts-1-hd", "30")])
def test_speech_is_billed_by_the_character(model: str, price: str) -> None:
    made = row(call("speech", model, tokenledger__usage__input_characters=4_096))
    assert made.cost_usd == mchars(price, 4_096)
    assert (made.cost_status, made.cost_note, made.input_characters) == (*SOUND, 4_096)


def test_speech_of_a_model_priced_by_tokens_is_unpriced_without_them() -> None:
    made = row(call("speech", "gpt-4o-mini-tts", tokenledger__usage__input_characters=4_096))
    assert (made.cost_usd, made.cost_status) == (None, "unpriced")
    assert made.cost_note == "no price for input_character of gpt-4o-mini-tts at openai"


def test_speech_that_failed_on_the_way_is_not_billed_by_the_request() -> None:
    told = call("speech", "tts-1", tokenledger__usage__input_characters=4_096)
    refused = row(told | {attributes.HTTP_STATUS_CODE: 429}, failed=True)
    assert (refused.cost_usd, refused.cost_status) == (Decimal(0), "priced")
    broken = row(told | {attributes.HTTP_STATUS_CODE: 500}, failed=True)
    assert (broken.cost_usd, broken.cost_status) == (None, "unmeasured")


@pytest.mark.parametrize("model", ["omni-moderation-latest", "text-moderation-stable", "new-one"])
def test_a_moderation_is_free_and_says_so(model: str) -> None:
    made = row(call("moderation", model))
    assert (made.cost_usd, made.cost_status) == (Decimal(0), "priced")
    assert made.price_id == "free:moderation"


def test_a_moderation_that_another_provider_bills_is_not_free() -> None:
    told = call("moderation", "mistral-moderation-2411", gen_ai__usage__input_tokens=1_000)
    made = row(told | {attributes.PROVIDER_NAME: "mistral_ai"})
    assert made.price_id != "free:moderation"
    assert made.cost_usd is None or made.cost_usd > 0


def test_a_realtime_response_bills_text_audio_and_cache_separately() -> None:
    made = row(
        call(
            "chat",
            "gpt-realtime-mini",
            gen_ai__output__type="speech",
            gen_ai__usage__input_tokens=1_000,
            gen_ai__usage__audio__input_tokens=700,
            gen_ai__usage__cache_read__input_tokens=600,
            gen_ai__usage__audio__cache_read__input_tokens=500,
            gen_ai__usage__output_tokens=300,
            gen_ai__usage__audio__output_tokens=250,
        )
    )
    text, audio = 1_000 - 700 - (600 - 500), 700 - 500
    assert made.input_cost_usd == mtok("0.6", text) + mtok("10", audio)
    assert made.cached_cost_usd == mtok("0.06", 100) + mtok("0.3", 500)
    assert made.output_cost_usd == mtok("2.4", 50) + mtok("20", 250)
    assert (made.cost_status, made.cost_note) == SOUND
    assert (made.cached_audio_tokens, made.cached_image_tokens) == (500, None)


def test_cached_parts_alone_are_the_whole_of_what_was_cached() -> None:
    told = chat_attributes(
        gen_ai__request__model="gpt-realtime-mini",
        gen_ai__usage__audio__input_tokens=600,
        gen_ai__usage__audio__cache_read__input_tokens=400,
    )
    assert row(told).cached_tokens == 400


def test_a_batch_row_is_priced_at_the_batch_rate_and_is_its_call_id() -> None:
    told = chat_attributes(openai__response__service_tier="batch") | {
        attributes.CALL_ID: "batch_1:row-7"
    }
    start = 1_795_300_000_000_000_000
    rows = [build_row(record(told, start_ns=start), HEADER, package_book) for _ in range(2)]
    first, again = rows
    assert first is not None
    assert again is not None
    assert first.trace_id != again.trace_id
    assert (first.event_id, first.usage_hash) == (again.event_id, again.usage_hash)
    assert first.cost_usd == mtok("1.25", 1_000) + mtok("5", 100)


def test_a_batch_without_a_batch_price_is_noted_as_too_high() -> None:
    """OpenAI sells embeddings in a batch at less; the list names their standard price alone."""
    made = row(
        {
            attributes.OPERATION_NAME: "embeddings",
            attributes.PROVIDER_NAME: "openai",
            attributes.REQUEST_MODEL: "text-embedding-3-small",
            attributes.INPUT_TOKENS: 1_000_000,
            attributes.OPENAI_SERVICE_TIER: "batch",
        }
    )
    assert (made.cost_usd, made.cost_status) == (mtok("0.02", 1_000_000), "partial")
    assert made.cost_note == (
        "no batch price for text-embedding-3-small: the standard rate is too high"
    )


def test_a_batch_of_claude_is_priced_at_its_batch_rate() -> None:
    told = chat_attributes(
        gen_ai__provider__name="anthropic",
        gen_ai__request__model="claude-sonnet-4-5",
        anthropic__response__service_tier="batch",
        anthropic__response__speed="standard",
    )
    assert row(told).cost_usd == mtok("1.5", 1_000) + mtok("7.5", 100)


def test_a_batch_row_that_was_sent_twice_is_written_once(database_url: str) -> None:
    told = chat_attributes() | {attributes.CALL_ID: "batch_1:row-8"}
    span = record(told)
    again = replace(span, trace_id=bytes(16), span_id=7)
    writer = BatchWriter(database_url)
    built = [build_row(one, HEADER, package_book) for one in (span, again)]
    written = writer.write([one for one in built if one])
    writer.close()
    assert written == WriteResult(stored=1, resent=1)


def test_a_result_fetched_at_two_times_is_one_row_of_the_time_it_was_made(
    database_url: str,
) -> None:
    """Two spans report it, hours apart; the provider's own clock makes them one."""
    made_ns = 1_795_300_000_000_000_000
    told = chat_attributes(openai__response__service_tier="batch") | {
        attributes.CALL_ID: "batch_1:row-9",
        attributes.CALL_STARTED_NS: made_ns,
    }
    spans = [record(told, start_ns=made_ns + hour * 3_600_000_000_000) for hour in (1, 7)]
    built = [build_row(span, HEADER, package_book) for span in spans]
    first, again = (one for one in built if one)
    assert first.event_id == again.event_id
    assert first.timestamp.timestamp() == made_ns / 1e9
    writer = BatchWriter(database_url)
    assert writer.write([first]) == WriteResult(stored=1)
    assert writer.write([again]) == WriteResult(resent=1)
    writer.close()


@pytest.mark.parametrize("told", [0, -1, 2**63, "soon", True], ids=str)
def test_a_start_that_is_no_time_is_the_spans_own(told: AttributeValue) -> None:
    start = 1_795_300_000_000_000_000
    more = {attributes.CALL_ID: "b", attributes.CALL_STARTED_NS: told}
    built = build_row(record(chat_attributes() | more, start_ns=start), HEADER, package_book)
    assert built is not None
    assert built.timestamp.timestamp() == start / 1e9


def test_a_start_without_a_call_id_is_the_spans_own() -> None:
    start = 1_795_300_000_000_000_000
    more: dict[str, AttributeValue] = {attributes.CALL_STARTED_NS: 1_700_000_000_000_000_000}
    built = build_row(record(chat_attributes() | more, start_ns=start), HEADER, package_book)
    assert built is not None
    assert built.timestamp.timestamp() == start / 1e9


@pytest.mark.parametrize(
    "operation", ["image_generation", "transcription", "translation", "speech", "moderation"]
)
def test_another_emitters_calls_of_these_shapes_make_rows_too(operation: str) -> None:
    foreign = replace(record(call(operation, "gpt-4o")), scope="openlit")
    assert build_row(foreign, HEADER, package_book) is not None


@pytest.mark.parametrize("operation", ["chat", "image_generation", "transcription", "speech"])
def test_a_shape_without_any_count_is_unmeasured(operation: str) -> None:
    made = row(call(operation, "gpt-4o"))
    assert (made.cost_status, made.cost_note) == ("unmeasured", "the provider reported no usage")
