"""A stream read from a bare response is asked for its usage, and what that adds is hidden."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.context import Context

import tokenledger
from support.fake_provider import Event, Recorded
from support.loopback import Loopback, Reply
from support.sdk_calls import CHAT_STREAM, MESSAGES
from support.spans import token_counts
from tokenledger._calls.call import Call
from tokenledger._usage.openai import ChatStream
from tokenledger.instrumentors._base.event_stream import Events
from tokenledger.instrumentors._base.watch import Watch
from tokenledger_semconv import attributes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from support.fake_provider import DemoProvider
    from support.ledger_in_memory import LedgerInMemory
    from support.sdk_calls import Clients

_USED = {"prompt_tokens": 1_014, "completion_tokens": 56, "total_tokens": 1_070}
_HEAD = {"id": "c-1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o"}


def _chunk(text: str | None, **more: object) -> dict[str, Any]:
    delta = {} if text is None else {"content": text}
    reason = "stop" if text is None else None
    return {**_HEAD, "choices": [{"index": 0, "delta": delta, "finish_reason": reason}], **more}


# Text that quotes what is removed from the chunks themselves.
_TEXTS = ("Hel", 'lo, "usage":null, {"choices":[],"usage":{}}', "Zoë 😀\n\ndata: x")
_PLAIN = [*map(_chunk, _TEXTS), _chunk(None)]
_ASKED = [{**chunk, "usage": None} for chunk in _PLAIN] + [{**_HEAD, "choices": [], "usage": _USED}]


def _framed(
    chunks: Iterable[dict[str, Any]],
    line_break: str = "\n",
    separators: tuple[str, str] = (",", ":"),
) -> bytes:
    lines = [
        f"data: {json.dumps(chunk, separators=separators)}{line_break * 2}" for chunk in chunks
    ]
    return "".join((*lines, f"data: [DONE]{line_break * 2}")).encode()


class _OpenAI(Loopback):
    """Like OpenAI's host: it sends the usage on request."""

    def reply(self, path: str) -> Reply:
        del path
        is_asked = self.requests[-1].json().get("stream_options") == {"include_usage": True}
        return Reply(_framed(_ASKED if is_asked else _PLAIN), "text/event-stream")


@pytest.fixture
def host() -> Iterator[Loopback]:
    with _OpenAI() as host:
        yield host


def _ask(host: Loopback, how: str, *, is_async: bool = False) -> Any:  # noqa: ANN401
    kind = openai.AsyncOpenAI if is_async else openai.OpenAI
    client: Any = kind(api_key="sk", base_url=host.url, max_retries=0)
    create = getattr(client.chat.completions, how).create
    return create(model="gpt-4o", messages=MESSAGES, stream=True)


_READERS: dict[str, Callable[[Any], object]] = {
    "parse": lambda raw: [chunk.model_dump(exclude_unset=True) for chunk in raw.parse()],
    "iter_bytes": lambda raw: b"".join(raw.http_response.iter_bytes()),
    "iter_bytes(7)": lambda raw: list(raw.http_response.iter_bytes(7)),
    "iter_text": lambda raw: "".join(raw.http_response.iter_text()),
    "iter_lines": lambda raw: list(raw.http_response.iter_lines()),
    "iter_raw": lambda raw: b"".join(raw.http_response.iter_raw()),
    "read": lambda raw: raw.http_response.read(),
}


@pytest.mark.parametrize("reader", _READERS)
@pytest.mark.parametrize("how", ["with_raw_response", "with_streaming_response"])
def test_the_app_reads_the_same_bytes_and_the_call_is_counted(
    ledger: LedgerInMemory, host: Loopback, how: str, reader: str
) -> None:
    def read() -> object:
        answer = _ask(host, how)
        if how == "with_raw_response":
            return _READERS[reader](answer)
        with answer as response:
            return _READERS[reader](response)

    ours = read()
    tokenledger.unpatch_openai()
    assert ours == read()
    assert [request.json().get("stream_options") for request in host.requests] == [
        {"include_usage": True},
        None,
    ]
    assert token_counts(ledger.only()) == {"input_tokens": 1_014, "output_tokens": 56}


@pytest.mark.asyncio
@pytest.mark.parametrize("how", ["with_raw_response", "with_streaming_response"])
async def test_the_async_app_reads_the_same_bytes_and_the_call_is_counted(
    ledger: LedgerInMemory, host: Loopback, how: str
) -> None:
    answer = _ask(host, how, is_async=True)
    if how == "with_raw_response":
        parsed = (await answer).parse()
        seen = [chunk.model_dump(exclude_unset=True) async for chunk in parsed]
    else:
        async with answer as response:
            seen = [chunk.model_dump(exclude_unset=True) async for chunk in await response.parse()]
    assert seen == _PLAIN
    assert token_counts(ledger.only()) == {"input_tokens": 1_014, "output_tokens": 56}


def test_a_refused_raw_stream_is_sent_again(
    ledger: LedgerInMemory, clients: Clients, provider: DemoProvider
) -> None:
    provider.script(Recorded({}, status=404))
    create: Any = clients.openai.chat.completions.with_raw_response.create
    assert list(create(**CHAT_STREAM.arguments).parse())
    options = [(request.body or {}).get("stream_options") for request in provider.requests]
    assert options == [{"include_usage": True}, None]
    assert attributes.ERROR_TYPE not in ledger.only()


def test_a_parsed_raw_stream_without_usage_that_was_read_to_its_end_is_not_estimated(
    ledger: LedgerInMemory, clients: Clients, provider: DemoProvider
) -> None:
    provider.script(Recorded(events=[*(Event(None, chunk) for chunk in _PLAIN), _done()]))
    create: Any = clients.openai.chat.completions.with_raw_response.create
    assert len(list(create(**CHAT_STREAM.arguments).parse())) == len(_PLAIN)
    assert attributes.USAGE_ESTIMATED not in ledger.only()
    assert token_counts(ledger.only()) == {}


def _done() -> Event:
    return Event(None, "[DONE]")


class _Pieces:
    """The result of `Events` for a body that arrives in pieces."""

    def __init__(self) -> None:
        self.reader = ChatStream(hides_usage=True)
        call = Call((), Context(), Context(), {}, 0)
        self.events = Events(Watch(call, self.reader, bytes), holds_back=True)

    def shown(self, pieces: Iterable[bytes]) -> bytes:
        shown = [self.events.feed(piece) for piece in pieces]
        return b"".join((*shown, self.events.rest()))


@given(
    st.lists(st.integers(1, 60), max_size=60),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.sampled_from([(",", ":"), (", ", ": ")]),
)
def test_pieces_and_line_breaks_do_not_change_the_events(
    sizes: list[int], line_break: str, separators: tuple[str, str]
) -> None:
    body = _framed(_ASKED, line_break, separators=separators)
    pieces: list[bytes] = []
    for size in sizes:
        pieces.append(body[:size])
        body = body[size:]
    passing = _Pieces()
    assert passing.shown([*pieces, body]) == _framed(_PLAIN, line_break, separators=separators)
    assert token_counts(dict(passing.reader.attributes())) == {
        "input_tokens": 1_014,
        "output_tokens": 56,
    }


def test_a_body_that_is_not_a_stream_passes_unchanged() -> None:
    for body in (b'{"error": 1}', b"", b"\x00\xff\r", b"data: {\n", b"data: " + b"[" * 5_000):
        assert _Pieces().shown([body]) == body


def test_a_line_without_an_end_is_not_buffered_forever() -> None:
    passing = _Pieces()
    piece = b"x" * (1024 * 1024)
    shown = [passing.events.feed(piece) for _ in range(20)]
    assert sum(map(len, shown)) > 8 * len(piece)
    assert passing.events.rest() + b"".join(shown) == piece * 20
