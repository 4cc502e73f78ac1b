"""A host that refuses the question gets the caller's own request, now and later."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import openai
import pytest

import tokenledger
from support.fake_provider import Event, Recorded, Refuse
from support.sdk_calls import CHAT_STREAM, MESSAGES, run, run_async
from support.sdk_releases import fields_sent, http_module, needs_argument
from support.spans import attributes_of, token_counts
from tokenledger.instrumentors.openai import ask_for_usage as usage_request
from tokenledger.instrumentors.openai.ask_for_usage import (
    ACCEPTS,
    ALWAYS_SENDS,
    REFUSES,
    UsageSupportCache,
)
from tokenledger_semconv import attributes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.fake_provider import DemoProvider
    from support.ledger_in_memory import LedgerInMemory
    from support.sdk_calls import Clients

_USAGE_REQUEST = {"include_usage": True}
_OLD_AZURE = Recorded(
    {"error": {"message": "Unrecognized request argument supplied: stream_options"}}, status=400
)
_VALIDATING = Recorded(
    {"detail": [{"type": "extra_forbidden", "loc": ["body", "stream_options"]}]}, status=422
)
_WORDLESS = Recorded({}, status=400)
_OTHER = Recorded({"error": {"message": "messages is too long"}}, status=400)


def _asked(provider: DemoProvider) -> list[object]:
    return [(request.body or {}).get("stream_options") for request in provider.requests]


def _is_an_unmeasured_success(ledger: LedgerInMemory) -> bool:
    span = ledger.only()
    return not token_counts(span) and attributes.ERROR_TYPE not in span


def _innermost(error: BaseException) -> BaseException | None:
    """The first of the errors that led to this one; `None` if there was no other."""
    context = error.__context__
    return None if context is None else _innermost(context) or context


def _named(status: int) -> Recorded:
    return Recorded({"error": {"message": "stream_options is not allowed"}}, status=status)


@pytest.mark.parametrize(
    "refusal",
    [_OLD_AZURE, _VALIDATING, _named(401), _named(406), _named(413), _named(429), _named(503)],
    ids=lambda refusal: str(refusal.status),
)
def test_a_refused_stream_is_sent_again_as_the_caller_wrote_it(
    ledger: LedgerInMemory, clients: Clients, provider: DemoProvider, refusal: Recorded
) -> None:
    provider.script(refusal)
    chunks = run(clients, CHAT_STREAM)
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert _asked(provider) == [_USAGE_REQUEST, None]
    assert _is_an_unmeasured_success(ledger)


@pytest.mark.asyncio
async def test_a_refused_async_stream_is_sent_again_as_the_caller_wrote_it(
    ledger: LedgerInMemory, async_clients: Clients, provider: DemoProvider
) -> None:
    provider.script(_OLD_AZURE)
    chunks = await run_async(async_clients, CHAT_STREAM)
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert _asked(provider) == [_USAGE_REQUEST, None]
    assert _is_an_unmeasured_success(ledger)


def test_a_refusing_host_is_not_asked_again(
    ledger: LedgerInMemory, clients: Clients, provider: DemoProvider
) -> None:
    provider.script(_OLD_AZURE)
    run(clients, CHAT_STREAM)
    run(clients, CHAT_STREAM)
    assert _asked(provider) == [_USAGE_REQUEST, None, None]
    assert len(ledger.spans) == 2


@pytest.mark.usefixtures("ledger")
def test_a_request_that_fails_both_ways_is_not_remembered(
    clients: Clients, provider: DemoProvider
) -> None:
    """The words may come from a prompt; the app gets the error of its own request."""
    provider.script(_OLD_AZURE, _OTHER)
    with pytest.raises(openai.BadRequestError, match="too long") as raised:
        run(clients, CHAT_STREAM)
    assert not isinstance(_innermost(raised.value), openai.APIError)
    run(clients, CHAT_STREAM)
    assert _asked(provider) == [_USAGE_REQUEST, None, _USAGE_REQUEST]


@pytest.mark.parametrize("status", [400, 403, 404, 405, 415, 422, 500, 501])
def test_an_unclear_refusal_counts_until_the_host_has_accepted_the_question(
    ledger: LedgerInMemory, clients: Clients, provider: DemoProvider, status: int
) -> None:
    provider.script(Recorded({"error": {"message": "no"}}, status=status))
    chunks = run(clients, CHAT_STREAM)
    assert chunks[-1].choices[0].finish_reason == "stop"
    run(clients, CHAT_STREAM)
    assert _asked(provider) == [_USAGE_REQUEST, None, None]
    assert [attributes.ERROR_TYPE in span for span in map(attributes_of, ledger.spans)] == [
        False
    ] * 2
    assert [attributes_of(span).get("http.request.resend_count") for span in ledger.spans] == [
        1,
        None,
    ]


@pytest.mark.asyncio
async def test_an_async_stream_with_an_unclear_refusal_is_sent_again(
    ledger: LedgerInMemory, async_clients: Clients, provider: DemoProvider
) -> None:
    provider.script(_WORDLESS)
    chunks = await run_async(async_clients, CHAT_STREAM)
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert _asked(provider) == [_USAGE_REQUEST, None]
    assert _is_an_unmeasured_success(ledger)


def test_the_sdks_retries_come_before_ours(
    ledger: LedgerInMemory, clients: Clients, provider: DemoProvider
) -> None:
    """The SDK retries a server error with the question; then we send it once without."""
    patient: Any = clients.openai.with_options(max_retries=1)
    provider.script(Refuse(500), Refuse(500))
    assert list(patient.chat.completions.create(**CHAT_STREAM.arguments))
    assert _asked(provider) == [_USAGE_REQUEST, _USAGE_REQUEST, None]
    assert _is_an_unmeasured_success(ledger)


@pytest.mark.parametrize("script", [_WORDLESS, Refuse(500)], ids=["400", "500"])
def test_a_host_that_accepts_the_option_rejects_the_request(
    ledger: LedgerInMemory, clients: Clients, provider: DemoProvider, script: Recorded | Refuse
) -> None:
    run(clients, CHAT_STREAM)
    provider.script(script)
    with pytest.raises(openai.APIStatusError):
        run(clients, CHAT_STREAM)
    assert _asked(provider) == [_USAGE_REQUEST] * 2
    assert attributes.ERROR_TYPE in attributes_of(ledger.spans[1])


def test_a_host_with_an_unclear_refusal_is_soon_asked_again(
    ledger: LedgerInMemory,
    clients: Clients,
    provider: DemoProvider,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The cause may pass: one bad answer must not cost an hour of counts."""
    now = [0.0]
    monkeypatch.setattr(usage_request, "TARGETS", UsageSupportCache(clock=lambda: now[0]))
    provider.script(Recorded({"error": {"message": "busy"}}, status=404))
    run(clients, CHAT_STREAM)
    run(clients, CHAT_STREAM)
    now[0] = usage_request.UNCLEAR_REFUSAL_SECONDS + 1
    run(clients, CHAT_STREAM)
    assert _asked(provider) == [_USAGE_REQUEST, None, None, _USAGE_REQUEST]
    assert token_counts(attributes_of(ledger.spans[2]))


@pytest.mark.parametrize("status", [401, 402, 408, 409, 413, 429, 502, 503, 504, 529])
def test_an_error_that_has_other_causes_is_not_sent_again(
    ledger: LedgerInMemory, clients: Clients, provider: DemoProvider, status: int
) -> None:
    provider.script(Refuse(status))
    with pytest.raises(openai.APIStatusError):
        run(clients, CHAT_STREAM)
    assert len(provider.requests) == 1
    assert attributes.ERROR_TYPE in ledger.only()


@pytest.mark.parametrize(
    ("status", "is_sent_again"),
    [(400, True), (422, True), (403, False), (404, False), (500, False), (501, False)],
)
@pytest.mark.usefixtures("ledger")
def test_openai_accepts_the_usage_option(status: int, is_sent_again: bool) -> None:
    http = http_module(openai)
    statuses = iter([status])
    options: list[object] = []

    def answer(request: Any) -> Any:  # noqa: ANN401 - of httpx or of httpx2
        options.append(json.loads(request.content).get("stream_options"))
        text = "data: [DONE]\n\n"
        return http.Response(
            next(statuses, 200), text=text, headers={"content-type": "text/event-stream"}
        )

    with openai.OpenAI(
        api_key="sk",
        base_url="https://api.openai.com/v1",
        max_retries=0,
        http_client=http.Client(transport=http.MockTransport(answer)),
    ) as client:
        create: Any = client.chat.completions.create
        if is_sent_again:
            assert list(create(model="gpt-4o", messages=MESSAGES, stream=True)) == []
        else:
            with pytest.raises(openai.APIStatusError):
                create(model="gpt-4o", messages=MESSAGES, stream=True)
    assert options == [_USAGE_REQUEST, None] if is_sent_again else [_USAGE_REQUEST]


def test_a_refusal_for_one_model_of_a_gateway_does_not_affect_the_others(
    ledger: LedgerInMemory, clients: Clients, provider: DemoProvider
) -> None:
    run(clients, CHAT_STREAM)
    provider.script(_WORDLESS)
    run(clients, CHAT_STREAM, model="llama-3")
    run(clients, CHAT_STREAM, model="llama-3")
    run(clients, CHAT_STREAM)
    assert _asked(provider) == [_USAGE_REQUEST, _USAGE_REQUEST, None, None, _USAGE_REQUEST]
    assert len(ledger.spans) == 4


@pytest.mark.usefixtures("ledger")
def test_the_app_gets_only_the_error_of_its_own_request(
    clients: Clients, provider: DemoProvider
) -> None:
    provider.script(_WORDLESS, Refuse(429))
    with pytest.raises(openai.RateLimitError) as raised:
        run(clients, CHAT_STREAM)
    assert not isinstance(_innermost(raised.value), openai.APIError)
    assert raised.value.__cause__ is None
    # Nothing was learned: the next request is asked, and would be sent again.
    provider.script(_WORDLESS)
    run(clients, CHAT_STREAM)
    assert _asked(provider) == [_USAGE_REQUEST, None, _USAGE_REQUEST, None]


@pytest.mark.usefixtures("ledger")
def test_a_refusal_of_the_callers_own_options_reaches_the_caller(
    clients: Clients, provider: DemoProvider
) -> None:
    needs_argument(clients.openai.chat.completions.create, "stream_options")
    provider.script(_OLD_AZURE)
    with pytest.raises(openai.BadRequestError, match="stream_options"):
        run(clients, CHAT_STREAM, stream_options=_USAGE_REQUEST)
    assert len(provider.requests) == 1


@pytest.mark.usefixtures("ledger")
def test_messages_that_can_be_read_once_are_sent_again_whole(
    clients: Clients, provider: DemoProvider
) -> None:
    def once() -> Iterator[dict[str, Any]]:
        yield from MESSAGES

    # Earlier releases consume the iterable, and cannot send it at all.
    needs_argument(clients.openai.chat.completions.create, "stream_options")
    provider.script(_OLD_AZURE)
    run(clients, CHAT_STREAM, messages=once())
    sent = [(request.body or {}).get("messages") for request in provider.requests]
    assert sent == [MESSAGES, MESSAGES]


@pytest.mark.usefixtures("ledgers")
def test_one_setting_sends_every_request_as_the_app_wrote_it(
    clients: Clients, provider: DemoProvider
) -> None:
    tokenledger.init(stream_usage=False)
    run(clients, CHAT_STREAM)
    assert _asked(provider) == [None]


def _ends_with_usage() -> Recorded:
    usage = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}
    chunk = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o"}
    events = [Event(None, {**chunk, "choices": [], "usage": usage}), Event(None, "[DONE]")]
    return Recorded(events=events)


def test_usage_sent_without_being_asked_is_visible_and_recorded(
    ledger: LedgerInMemory, clients: Clients, provider: DemoProvider
) -> None:
    provider.script(_OLD_AZURE, _ends_with_usage())
    chunks = run(clients, CHAT_STREAM)
    assert [fields_sent(seen)["usage"]["total_tokens"] for seen in chunks] == [13]
    assert token_counts(ledger.only()) == {"input_tokens": 9, "output_tokens": 4}


@pytest.mark.usefixtures("ledgers")
def test_a_host_that_sent_its_usage_unasked_is_not_asked_again(
    clients: Clients, provider: DemoProvider
) -> None:
    tokenledger.init(stream_usage=False)
    provider.script(_ends_with_usage(), _ends_with_usage())
    run(clients, CHAT_STREAM)
    tokenledger.configure()
    chunks = run(clients, CHAT_STREAM)
    assert _asked(provider) == [None, None]
    assert [fields_sent(seen)["usage"]["total_tokens"] for seen in chunks] == [13]


@pytest.mark.usefixtures("ledgers")
def test_a_host_documented_to_send_its_usage_unasked_is_not_asked(
    clients: Clients, provider: DemoProvider
) -> None:
    tokenledger.init(provider_hosts={"127.0.0.1": "openrouter"})
    provider.script(_ends_with_usage())
    chunks = run(clients, CHAT_STREAM)
    assert _asked(provider) == [None]
    assert [fields_sent(seen)["usage"]["total_tokens"] for seen in chunks] == [13]


def test_the_text_of_a_refusal_is_not_stored(
    ledger: LedgerInMemory, clients: Clients, provider: DemoProvider
) -> None:
    provider.script(_OLD_AZURE)
    run(clients, CHAT_STREAM)
    span = ledger.spans[0]
    assert "Unrecognized" not in str((ledger.only(), span.events, span.status.description))


def test_the_memory_of_hosts_is_bounded_and_expires() -> None:
    now = [0.0]
    known = UsageSupportCache(limit=2, seconds=60.0, clock=lambda: now[0])
    for port in range(4):
        known.note(("127.0.0.1", port, "m"), REFUSES)
    assert [known.of(("127.0.0.1", port, "m")) for port in range(4)] == ["", "", REFUSES, REFUSES]
    known.note(("127.0.0.1", 3, "m"), ACCEPTS)
    assert known.of(("127.0.0.1", 3, "m")) == ACCEPTS
    known.note(("127.0.0.1", 3, "m"), ALWAYS_SENDS)
    known.note(("127.0.0.1", 3, "m"), REFUSES)
    assert known.of(("127.0.0.1", 3, "m")) == ALWAYS_SENDS
    now[0] = 61.0
    assert known.of(("127.0.0.1", 3, "m")) == ""
