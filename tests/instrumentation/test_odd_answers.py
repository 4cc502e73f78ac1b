"""Answers that no provider sends, and some do: nothing reaches the app, and the call is counted."""

from __future__ import annotations

import inspect
import json
from typing import TYPE_CHECKING, Any

import anthropic
import pytest

from instrumentation.harness import counts
from instrumentation.loopback import streamed
from instrumentation.releases import http_module
from tokenledger.instrumentors.body import body_sent

if TYPE_CHECKING:
    from instrumentation.calls import Clients
    from instrumentation.harness import MemoryLedger

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
    ledger: MemoryLedger, clients: Clients
) -> None:
    """A client's middleware (a cache, a replay) may make the response."""
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
    asked = [{"role": "user", "content": "hi"}]
    stream = client.messages.create(
        model="claude-sonnet-5", max_tokens=9, messages=asked, stream=True
    )
    assert len(list(stream)) == len(_EVENTS)
    assert counts(ledger.only()) == {"input_tokens": 12, "output_tokens": 7}


def test_the_body_sent_for_such_a_response_is_not_known() -> None:
    http = http_module(anthropic)
    assert body_sent(http.Response(200))() == b""
    request = http.Request("POST", "http://127.0.0.1/", content=b"{}")
    assert body_sent(http.Response(200, request=request))() == b"{}"
    assert json.loads(request.content) == {}
