"""A host that refuses to be asked for usage gets the caller's own request, then and later."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import openai
import pytest

import tokenledger
from instrumentation.calls import CHAT_STREAM, MESSAGES, run, run_async
from instrumentation.harness import counts
from instrumentation.releases import fields_sent, needs_argument
from tokenledger.instrumentors import usage_request
from tokenledger.instrumentors.usage_request import RefusingHosts
from tokenledger_exporter.demo.scripts import Recorded, Refuse
from tokenledger_exporter.demo.wire import Event
from tokenledger_semconv import attributes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from instrumentation.calls import Clients
    from instrumentation.harness import MemoryLedger
    from tokenledger_exporter.demo.provider import DemoProvider

_USAGE_REQUEST = {"include_usage": True}
_OLD_AZURE = Recorded(
    {"error": {"message": "Unrecognized request argument supplied: stream_options"}}, status=400
)
_VALIDATING = Recorded(
    {"detail": [{"type": "extra_forbidden", "loc": ["body", "stream_options"]}]}, status=422
)
_OTHER = Recorded({"error": {"message": "messages is too long"}}, status=400)


@pytest.fixture(autouse=True)
def _no_host_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage_request, "REFUSING_HOSTS", RefusingHosts())


def _asked(provider: DemoProvider) -> list[object]:
    return [(request.body or {}).get("stream_options") for request in provider.requests]


def _is_an_unmeasured_success(ledger: MemoryLedger) -> bool:
    span = ledger.only()
    return not counts(span) and attributes.ERROR_TYPE not in span


def _innermost(error: BaseException) -> BaseException | None:
    """The first of the errors that led to this one; `None` where there was no other."""
    context = error.__context__
    return None if context is None else _innermost(context) or context


@pytest.mark.parametrize("refusal", [_OLD_AZURE, _VALIDATING], ids=["400", "422"])
def test_a_refused_stream_is_sent_again_as_the_caller_wrote_it(
    ledger: MemoryLedger, clients: Clients, provider: DemoProvider, refusal: Recorded
) -> None:
    provider.script(refusal)
    chunks = run(clients, CHAT_STREAM)
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert _asked(provider) == [_USAGE_REQUEST, None]
    assert _is_an_unmeasured_success(ledger)


@pytest.mark.asyncio
async def test_a_refused_async_stream_is_sent_again_as_the_caller_wrote_it(
    ledger: MemoryLedger, async_clients: Clients, provider: DemoProvider
) -> None:
    provider.script(_OLD_AZURE)
    chunks = await run_async(async_clients, CHAT_STREAM)
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert _asked(provider) == [_USAGE_REQUEST, None]
    assert _is_an_unmeasured_success(ledger)


def test_a_refusing_host_is_not_asked_again(
    ledger: MemoryLedger, clients: Clients, provider: DemoProvider
) -> None:
    provider.script(_OLD_AZURE)
    run(clients, CHAT_STREAM)
    run(clients, CHAT_STREAM)
    assert _asked(provider) == [_USAGE_REQUEST, None, None]
    assert len(ledger.spans) == 2


@pytest.mark.usefixtures("ledger")
def test_a_request_that_fails_either_way_says_nothing_of_its_host(
    clients: Clients, provider: DemoProvider
) -> None:
    """The words may be quoted from a prompt; the app gets the error of its own request."""
    provider.script(_OLD_AZURE, _OTHER)
    with pytest.raises(openai.BadRequestError, match="too long") as raised:
        run(clients, CHAT_STREAM)
    assert not isinstance(_innermost(raised.value), openai.APIError)
    run(clients, CHAT_STREAM)
    assert _asked(provider) == [_USAGE_REQUEST, None, _USAGE_REQUEST]


@pytest.mark.parametrize("script", [_OTHER, Refuse(500)], ids=["other-words", "other-status"])
def test_any_other_error_is_not_sent_again(
    ledger: MemoryLedger, clients: Clients, provider: DemoProvider, script: Recorded | Refuse
) -> None:
    provider.script(script)
    with pytest.raises(openai.APIStatusError):
        run(clients, CHAT_STREAM)
    assert len(provider.requests) == 1
    assert attributes.ERROR_TYPE in ledger.only()


@pytest.mark.usefixtures("ledger")
def test_options_the_caller_wrote_are_refused_to_the_caller(
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

    # The releases before it made a list of nothing, and cannot send these at all.
    needs_argument(clients.openai.chat.completions.create, "stream_options")
    provider.script(_OLD_AZURE)
    run(clients, CHAT_STREAM, messages=once())
    sent = [(request.body or {}).get("messages") for request in provider.requests]
    assert sent == [MESSAGES, MESSAGES]


@pytest.mark.usefixtures("ledgers")
def test_one_setting_leaves_every_request_as_the_app_wrote_it(
    clients: Clients, provider: DemoProvider
) -> None:
    tokenledger.init(stream_usage=False)
    run(clients, CHAT_STREAM)
    assert _asked(provider) == [None]


def test_usage_that_comes_unasked_is_shown_and_booked(
    ledger: MemoryLedger, clients: Clients, provider: DemoProvider
) -> None:
    usage = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}
    chunk = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o"}
    events = [Event(None, {**chunk, "choices": [], "usage": usage}), Event(None, "[DONE]")]
    provider.script(_OLD_AZURE, Recorded(events=events))
    chunks = run(clients, CHAT_STREAM)
    assert [fields_sent(seen)["usage"]["total_tokens"] for seen in chunks] == [13]
    assert counts(ledger.only()) == {"input_tokens": 9, "output_tokens": 4}


def test_the_words_of_a_refusal_are_not_stored(
    ledger: MemoryLedger, clients: Clients, provider: DemoProvider
) -> None:
    provider.script(_OLD_AZURE)
    run(clients, CHAT_STREAM)
    span = ledger.spans[0]
    assert "Unrecognized" not in str((ledger.only(), span.events, span.status.description))


def test_the_hosts_remembered_are_bounded() -> None:
    hosts = RefusingHosts(limit=2)
    for port in range(5):
        hosts.add(("127.0.0.1", port))
    known = [port for port in range(5) if ("127.0.0.1", port) in hosts]
    assert known == [0, 1]
