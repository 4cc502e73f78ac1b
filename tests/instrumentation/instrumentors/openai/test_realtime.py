"""Over a websocket, every response is a call of its own, and every message reaches the app."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from openai import AsyncOpenAI, AzureOpenAI, OpenAI
from websockets.sync.server import serve

import tokenledger
from support.loopback import method_of
from support.openai_cases import RESPONSE_COUNTS, response
from support.sdk_releases import needs_argument
from support.spans import attributes_of, token_vector
from tokenledger_semconv import attributes
from tokenledger_semconv.tokens import TokenVector

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

    from websockets.sync.server import ServerConnection

    from support.ledger_in_memory import LedgerInMemory
    from support.sdk_calls import Sdk

SESSION = {
    "type": "session.created",
    "event_id": "e1",
    "session": {
        "type": "realtime",
        "model": "gpt-realtime-2025-08-28",
        "audio": {"input": {"transcription": {"model": "gpt-4o-transcribe"}}},
    },
}
DELTA = {
    "type": "response.output_audio.delta",
    "event_id": "e2",
    "response_id": "resp_1",
    "item_id": "i1",
    "output_index": 0,
    "content_index": 0,
    "delta": "AAAA",
}
USAGE = {
    "total_tokens": 1_001,
    "input_tokens": 701,
    "output_tokens": 300,
    "input_token_details": {
        "text_tokens": 101,
        "audio_tokens": 600,
        "cached_tokens": 230,
        "cached_tokens_details": {"text_tokens": 30, "audio_tokens": 200},
    },
    "output_token_details": {"text_tokens": 70, "audio_tokens": 229},
}
COUNTS = TokenVector(
    input_tokens=701,
    output_tokens=300,
    audio_input_tokens=600,
    audio_output_tokens=229,
    cached_tokens=230,
    cached_audio_tokens=200,
)
TRANSCRIBED = {
    "type": "conversation.item.input_audio_transcription.completed",
    "event_id": "e9",
    "item_id": "i1",
    "content_index": 0,
    "transcript": "canary-transcript",
    "usage": {
        "type": "tokens",
        "total_tokens": 27,
        "input_tokens": 23,
        "output_tokens": 4,
        "input_token_details": {"text_tokens": 0, "audio_tokens": 23},
    },
}


def answered(identity: str, status: str = "completed") -> list[dict[str, Any]]:
    fields: dict[str, Any] = {
        "id": identity,
        "object": "realtime.response",
        "status": "in_progress",
        "output": [],
    }
    return [
        {"type": "response.created", "event_id": "e3", "response": fields},
        DELTA,
        DELTA,
        {
            "type": "response.done",
            "event_id": "e4",
            "response": {**fields, "status": status, "usage": USAGE},
        },
    ]


@contextmanager
def saying(events: Iterable[object]) -> Generator[str]:
    """A websocket server that sends these events to each client and closes; yields its address."""
    messages = [json.dumps(event) for event in events]

    def speak(connection: ServerConnection) -> None:
        for message in messages:
            connection.send(message)

    with serve(speak, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"ws://127.0.0.1:{server.socket.getsockname()[1]}/v1"
        finally:
            server.shutdown()
            thread.join()


def client_of(url: str) -> OpenAI:
    needs_argument(OpenAI, "websocket_base_url")
    return OpenAI(websocket_base_url=url, api_key="sk-canary-key")


def heard(connect: Sdk, **arguments: object) -> list[Any]:
    with connect(**arguments) as connection:
        return list(connection)


def heard_raw(connect: Sdk, **arguments: object) -> list[Any]:
    from websockets.exceptions import ConnectionClosedOK  # noqa: PLC0415

    messages: list[bytes] = []
    with connect(**arguments) as connection:
        try:
            while True:
                messages.append(connection.recv_bytes())
        except ConnectionClosedOK:
            return messages


REALTIME = ["realtime.connect", "beta.realtime.connect"]


@pytest.mark.parametrize("method", REALTIME)
@pytest.mark.parametrize("listen", [heard, heard_raw], ids=["events", "bytes"])
def test_every_response_of_a_connection_is_a_call(
    ledger: LedgerInMemory, method: str, listen: Sdk
) -> None:
    events = [SESSION, *answered("resp_1"), *answered("resp_2")]
    with saying(events) as url, client_of(url) as client:
        messages = listen(method_of(client, method), model="gpt-realtime")
    assert len(messages) == len(events)
    spans = [attributes_of(span) for span in ledger.spans]
    assert [token_vector(span) for span in spans] == [COUNTS, COUNTS]
    assert [span[attributes.RESPONSE_ID] for span in spans] == ["resp_1", "resp_2"]
    assert spans[0][attributes.REQUEST_MODEL] == "gpt-realtime-2025-08-28"
    assert spans[0][attributes.PROVIDER_NAME] == "openai"
    assert spans[0][attributes.OPERATION_NAME] == "chat"
    assert spans[0][attributes.REQUEST_STREAM] is True
    assert spans[0][attributes.SERVER_ADDRESS] == "127.0.0.1"
    assert spans[0][attributes.SERVER_PORT] == int(url.rpartition(":")[2].partition("/")[0])
    assert spans[0][attributes.FINISH_REASONS] == ("stop",)


@pytest.mark.parametrize("method", REALTIME)
@pytest.mark.asyncio
async def test_every_response_of_an_async_connection_is_a_call(
    ledger: LedgerInMemory, method: str
) -> None:
    needs_argument(AsyncOpenAI, "websocket_base_url")
    with saying([SESSION, *answered("resp_1"), *answered("resp_2")]) as url:
        client = AsyncOpenAI(websocket_base_url=url, api_key="sk-canary-key")
        async with method_of(client, method)(model="gpt-realtime") as connection:
            events = [event async for event in connection]
        await client.close()
    assert len(events) == 9
    assert [token_vector(attributes_of(span)) for span in ledger.spans] == [COUNTS, COUNTS]


def test_a_response_lasts_from_its_start_to_its_end(ledger: LedgerInMemory) -> None:
    with (
        saying([SESSION, *answered("resp_1")]) as url,
        client_of(url) as client,
        method_of(client, "realtime.connect")(model="gpt-realtime") as connection,
    ):
        assert [connection.recv().type for _ in range(2)][-1] == "response.created"
        assert not ledger.spans
        list(connection)
    span = ledger.spans[0]
    assert span.start_time is not None
    assert span.end_time is not None
    assert span.end_time > span.start_time


def test_a_failed_response_is_an_error(ledger: LedgerInMemory) -> None:
    with saying([SESSION, *answered("resp_1", "failed")]) as url, client_of(url) as client:
        heard(method_of(client, "realtime.connect"), model="gpt-realtime")
    assert ledger.only()[attributes.ERROR_TYPE] == "response.failed"
    assert token_vector(ledger.only()) == COUNTS


def test_a_transcription_during_the_conversation_is_a_call(ledger: LedgerInMemory) -> None:
    with saying([SESSION, TRANSCRIBED]) as url, client_of(url) as client:
        heard(method_of(client, "realtime.connect"), model="gpt-realtime")
    span = ledger.only()
    assert token_vector(span) == TokenVector(
        input_tokens=23, output_tokens=4, audio_input_tokens=23
    )
    assert span[attributes.REQUEST_MODEL] == "gpt-4o-transcribe"
    assert span[attributes.OPERATION_NAME] == "transcription"
    assert "canary" not in str(span)


def test_a_transcription_billed_by_its_length_has_seconds(ledger: LedgerInMemory) -> None:
    transcribed = {**TRANSCRIBED, "usage": {"type": "duration", "seconds": 3.2}}
    with saying([SESSION, transcribed]) as url, client_of(url) as client:
        heard(method_of(client, "realtime.connect"), model="gpt-realtime")
    assert token_vector(ledger.only()) == TokenVector(audio_seconds=4)


def test_a_session_without_an_announcement_gets_its_model_from_the_address(
    ledger: LedgerInMemory,
) -> None:
    with saying(answered("resp_1")) as url, client_of(url) as client:
        heard(method_of(client, "realtime.connect"), model="gpt-realtime-mini")
    assert ledger.only()[attributes.REQUEST_MODEL] == "gpt-realtime-mini"


def test_a_session_may_change_its_model(ledger: LedgerInMemory) -> None:
    changed = {**SESSION, "type": "session.updated", "session": {"model": "gpt-realtime-2"}}
    with saying([SESSION, changed, *answered("resp_1")]) as url, client_of(url) as client:
        heard(method_of(client, "realtime.connect"), model="gpt-realtime")
    assert ledger.only()[attributes.REQUEST_MODEL] == "gpt-realtime-2"


@pytest.mark.parametrize("listen", [heard, heard_raw], ids=["events", "bytes"])
@pytest.mark.parametrize("method", ["responses.connect", "beta.responses.connect"])
def test_responses_over_a_websocket_are_calls(
    ledger: LedgerInMemory, method: str, listen: Sdk
) -> None:
    started = response(status="in_progress", usage=None, output=[])
    events = [
        {"type": "response.created", "sequence_number": 0, "response": started},
        {"type": "response.completed", "sequence_number": 1, "response": response()},
    ]
    with saying(events) as url, client_of(url) as client:
        listen(method_of(client, method))
    span = ledger.only()
    assert token_vector(span) == RESPONSE_COUNTS
    assert span[attributes.RESPONSE_MODEL] == "gpt-4o-2024-08-06"


def test_azure_is_recognized_by_its_client(ledger: LedgerInMemory) -> None:
    needs_argument(AzureOpenAI, "websocket_base_url")
    with saying([SESSION, *answered("resp_1")]) as url:
        client = AzureOpenAI(
            websocket_base_url=url,
            base_url="http://127.0.0.1:9/openai",
            api_key="sk-canary-key",
            api_version="2025-08-28",
        )
        with client:
            heard(method_of(client, "realtime.connect"), model="my-deployment")
    assert ledger.only()[attributes.PROVIDER_NAME] == "azure.ai.openai"


def test_text_that_names_a_kind_is_not_mistaken_for_one(ledger: LedgerInMemory) -> None:
    spoken = {**DELTA, "delta": '"response.done"'}
    with saying([SESSION, spoken, 5, ["response.done"]]) as url, client_of(url) as client:
        assert len(heard_raw(method_of(client, "realtime.connect"), model="gpt-realtime")) == 4
    assert not ledger.spans


def test_after_unpatching_a_connection_passes_through(ledger: LedgerInMemory) -> None:
    with (
        saying([SESSION, *answered("resp_1")]) as url,
        client_of(url) as client,
        method_of(client, "realtime.connect")(model="gpt-realtime") as connection,
    ):
        connection.recv()
        tokenledger.unpatch_openai()
        assert list(connection)
    assert not ledger.spans
