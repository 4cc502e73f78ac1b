"""Strange answers never cause an error in the app, and the call is still counted."""

from __future__ import annotations

import inspect
import json
from typing import TYPE_CHECKING, Any

import anthropic
import openai
import pytest

import tokenledger
from support.loopback import Loopback, Reply, streamed
from support.sdk_calls import CHAT, MESSAGE, run
from support.sdk_releases import http_module
from support.spans import attributes_of, token_counts
from tokenledger import _guard
from tokenledger._usage.anthropic import read_message
from tokenledger._usage.estimate import estimated_input
from tokenledger._usage.fields import read_json
from tokenledger._usage.openai import read_chat, read_response
from tokenledger.instrumentors._base.http_body import request_body_of
from tokenledger_semconv import attributes as names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.ledger_in_memory import LedgerInMemory
    from support.sdk_calls import Clients

_EVENTS: list[dict[str, Any]] = [
    {
        "type": "message_start",
        "message": {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": "claude-sonnet-5",
            "content": [],
            "usage": {"input_tokens": 12, "output_tokens": 1},
        },
    },
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 7}},
    {"type": "message_stop"},
]


def test_a_stream_of_a_response_without_a_request_is_counted(
    ledger: LedgerInMemory, clients: Clients
) -> None:
    """A client's middleware (a cache, a replay) may create the response."""
    if "middleware" not in inspect.signature(anthropic.Anthropic.__init__).parameters:
        pytest.skip("this release of the SDK has no middleware")
    http = http_module(anthropic)

    def replay(request: Any, call_next: Any) -> Any:  # noqa: ANN401 - the SDK's
        whole = call_next(request)
        whole.http_response.read()
        headers = {"content-type": "text/event-stream"}
        whole.http_response = http.Response(200, headers=headers, content=streamed(_EVENTS).body)
        return whole

    client: Any = clients.anthropic.with_options(middleware=[replay])
    requested = [{"role": "user", "content": "hi"}]
    stream = client.messages.create(
        model="claude-sonnet-5", max_tokens=9, messages=requested, stream=True
    )
    assert len(list(stream)) == len(_EVENTS)
    assert token_counts(ledger.only()) == {"input_tokens": 12, "output_tokens": 7}


def test_the_request_body_of_for_such_a_response_is_not_known() -> None:
    http = http_module(anthropic)
    assert request_body_of(http.Response(200))() == b""
    request = http.Request("POST", "http://127.0.0.1/", content=b"{}")
    assert request_body_of(http.Response(200, request=request))() == b"{}"
    assert json.loads(request.content) == {}


class _Proxy:
    """Like a lazy proxy whose target is gone: every access raises."""

    def __getattribute__(self, name: str) -> Any:  # noqa: ANN401
        raise LookupError(name)

    def __bool__(self) -> bool:
        raise LookupError


def test_a_hostile_result_of_a_tracked_function_reaches_its_caller(ledger: LedgerInMemory) -> None:
    proxy = _Proxy()

    @tokenledger.track_llm
    def returns() -> object:
        return proxy

    @tokenledger.track_llm
    def yields() -> Iterator[object]:
        yield proxy

    @tokenledger.track_llm(model="gpt-4o")
    def holds() -> object:
        return {"usage": proxy}

    assert returns() is proxy
    assert next(iter(yields())) is proxy
    assert holds() == {"usage": proxy}
    assert ledger.spans == []
    assert _guard.counts() == {
        "reading a tracked function's result": 2,
        "recording a tracked function's result": 1,
    }
    _guard.reset()


@pytest.mark.parametrize(
    "many", [10**9 + 1, 2**63 - 1, 10**5_000], ids=["plausible", "64 bit", "5000 digits"]
)
def test_a_count_that_no_call_can_reach_is_dropped_and_the_call_is_recorded(
    ledger: LedgerInMemory, many: int
) -> None:
    tokenledger.track(model="gpt-4o", input_tokens=many, output_tokens=5, cost_usd=many)
    tokenledger.track_cost(many, 5, "gpt-4o")

    @tokenledger.track_llm(model="gpt-4o")
    def answers() -> object:
        return {"usage": {"prompt_tokens": many, "completion_tokens": 5}}

    answers()
    spans = [attributes_of(span) for span in ledger.spans]
    assert [token_counts(span) for span in spans] == [{"output_tokens": 5}] * 3
    assert "more than 1,000,000,000" in spans[2][names.UNKNOWN_USAGE]
    assert _guard.counts()["track(input_tokens=)"] == 1
    _guard.reset()


def test_names_are_cut_to_what_a_row_can_hold(ledger: LedgerInMemory, clients: Clients) -> None:
    """The model may come from the app's user, and the other names from any host."""
    long = "m" * 4_000
    run(clients, CHAT, model=long, extra_body={"service_tier": long})
    run(clients, MESSAGE, model=long)
    tokenledger.track_cost(1, 2, long, provider=long, operation=long, user_id=long)
    for span in map(attributes_of, ledger.spans):
        texts = {name: len(value) for name, value in span.items() if isinstance(value, str)}
        texts.pop(names.PROVIDER_USAGE, None)
        assert max(texts.values()) == 255, texts


@pytest.mark.parametrize(
    "read", [read_chat, read_response, read_message], ids=lambda read: read.__name__
)
def test_the_names_in_an_answer_are_cut(read: Callable[[object], dict[str, Any]]) -> None:
    long = "x" * 3_000
    answer = {"model": long, "id": long, "service_tier": long, "stop_reason": long}
    usage = {"input_tokens": 1, "output_tokens": 2, "service_tier": long}
    result = read({**answer, "usage": usage, "choices": [{"finish_reason": "stop"}] * 100_000})
    assert result[names.RESPONSE_ID] == "x" * 255
    assert result[names.RESPONSE_MODEL] == "x" * 255
    del result[names.PROVIDER_USAGE]
    assert len(json.dumps(result)) < 4_000


@pytest.mark.parametrize("depth", [1_000, 1_500, 5_000, 100_000])
def test_deeply_nested_json_reaches_the_app_unchanged(ledger: LedgerInMemory, depth: int) -> None:
    """From Python 3.13 on the decoder gives up between 1,000 and 2,000 levels."""
    deep = b"[" * depth + b"]" * depth
    body = b'data: {"id": "c-1", "choices": [], "x": ' + deep + b"}\n\ndata: [DONE]\n\n"
    assert read_json(deep) is None or depth <= 1_500
    assert estimated_input(b'{"messages": ' + deep + b"}") == 0
    with Loopback() as host:
        host.on("/chat/completions", Reply(body, "text/event-stream"))
        client: Any = openai.OpenAI(api_key="sk", base_url=host.url, max_retries=0)
        create = client.chat.completions.with_streaming_response.create
        with create(model="gpt-4o", messages=[], stream=True) as response:
            assert b"".join(response.iter_bytes()) == body
        host.on("/chat/completions", Reply(deep, "application/json"))
        create = client.chat.completions.with_streaming_response.create
        with create(model="gpt-4o", messages=[]) as response:
            assert b"".join(response.iter_bytes()) == deep
    assert len(ledger.spans) == 2
