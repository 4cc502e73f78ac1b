"""The calls that are measured: the real SDKs over a transport that answers from memory."""

from __future__ import annotations

import importlib
import json
from typing import TYPE_CHECKING, Any, Final

from anthropic import Anthropic
from openai import AsyncOpenAI, OpenAI

if TYPE_CHECKING:
    from collections.abc import Iterator

_MESSAGES: Final[Any] = [{"role": "user", "content": "hello"}]
_CHAT: Final[dict[str, Any]] = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "gpt-4o-2024-08-06",
    "service_tier": "default",
    "system_fingerprint": "fp_1",
    "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}
    ],
    "usage": {
        "prompt_tokens": 1_189,
        "completion_tokens": 211,
        "total_tokens": 1_400,
        "prompt_tokens_details": {"cached_tokens": 117, "audio_tokens": 3},
        "completion_tokens_details": {"reasoning_tokens": 13, "audio_tokens": 5},
    },
}
_RESPONSE: Final[dict[str, Any]] = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1,
    "model": "gpt-4o-2024-08-06",
    "status": "completed",
    "service_tier": "default",
    "parallel_tool_calls": True,
    "tool_choice": "auto",
    "tools": [],
    "output": [
        {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": "hi", "annotations": []}],
        }
    ],
    "usage": {
        "input_tokens": 1_189,
        "input_tokens_details": {"cached_tokens": 117, "cache_write_tokens": 0},
        "output_tokens": 211,
        "output_tokens_details": {"reasoning_tokens": 13},
        "total_tokens": 1_400,
    },
}
_MESSAGE: Final[dict[str, Any]] = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-sonnet-5",
    "content": [{"type": "text", "text": "hi"}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {
        "input_tokens": 1_072,
        "cache_read_input_tokens": 117,
        "cache_creation_input_tokens": 31,
        "cache_creation": {"ephemeral_5m_input_tokens": 19, "ephemeral_1h_input_tokens": 12},
        "output_tokens": 211,
        "service_tier": "standard",
        "server_tool_use": {"web_search_requests": 2},
    },
}


def _sse(events: list[dict[str, Any]]) -> bytes:
    return b"".join(
        b"event: %s\ndata: %s\n\n" % (event["type"].encode(), json.dumps(event).encode())
        if "type" in event
        else b"data: %s\n\n" % json.dumps(event).encode()
        for event in events
    )


def _chat_events(chunks: int, asked: bool) -> list[dict[str, Any]]:
    chunk = {key: _CHAT[key] for key in ("id", "created", "model", "system_fingerprint")}
    chunk["object"] = "chat.completion.chunk"
    if asked:
        chunk["usage"] = None

    def choice(delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
        return {**chunk, "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}

    texts = [choice({"content": " word"}) for _ in range(chunks)]
    events = [choice({"role": "assistant", "content": ""}), *texts, choice({}, "stop")]
    return [*events, {**chunk, "choices": [], "usage": _CHAT["usage"]}] if asked else events


def _message_events(chunks: int) -> list[dict[str, Any]]:
    text = {
        "type": "content_block_delta",
        "index": 0,
        "delta": {"type": "text_delta", "text": " word"},
    }
    start: dict[str, Any] = {**_MESSAGE, "content": [], "stop_reason": None}
    return [
        {"type": "message_start", "message": start},
        {
            "type": "content_block_start",
            "index": 0,
            "content_block": {"type": "text", "text": ""},
        },
        *[text] * chunks,
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": {"output_tokens": 211},
        },
        {"type": "message_stop"},
    ]


def chat_answer(request: dict[str, Any]) -> tuple[bytes, dict[str, str]]:
    """Body and headers of the answer to a chat request."""
    if not request.get("stream"):
        return json.dumps(_CHAT).encode(), {"content-type": "application/json"}
    asked = request.get("stream_options") is not None
    events = _sse(_chat_events(request["max_tokens"], asked))
    return events + b"data: [DONE]\n\n", {"content-type": "text/event-stream"}


class StubCalls:
    """Clients of both SDKs that never leave the process, and one method a measured call."""

    def __init__(self) -> None:
        http: Any = importlib.import_module("httpx2")
        self._http = http
        self._bodies = {
            "/v1/responses": json.dumps(_RESPONSE).encode(),
            "/v1/messages": json.dumps(_MESSAGE).encode(),
        }
        client = http.Client(transport=http.MockTransport(self._answer))
        async_client = http.AsyncClient(transport=http.MockTransport(self._answer))
        url = "http://127.0.0.1:9"
        self._openai = OpenAI(api_key="k", base_url=url + "/v1", http_client=client)
        self._async_openai = AsyncOpenAI(
            api_key="k", base_url=url + "/v1", http_client=async_client
        )
        # Its own spans are off in all that is compared.
        self._anthropic = Anthropic(
            api_key="k", base_url=url, http_client=client, open_telemetry=False
        )

    def _answer(self, request: Any) -> Any:  # noqa: ANN401 - of httpx2
        path, body = request.url.path, json.loads(request.content)
        content, headers = chat_answer(body)
        if path in self._bodies and not body.get("stream"):
            content = self._bodies[path]
        elif path == "/v1/messages":
            content = _sse(_message_events(body["max_tokens"]))
        return self._http.Response(200, content=content, headers=headers)

    def chat(self) -> None:
        """One chat completion."""
        self._openai.chat.completions.create(model="gpt-4o", messages=_MESSAGES)

    def response(self) -> None:
        """One answer of the Responses API."""
        self._openai.responses.create(model="gpt-4o", input="hello")

    def message(self) -> None:
        """One message."""
        self._anthropic.messages.create(
            model="claude-sonnet-5",
            max_tokens=64,
            messages=_MESSAGES,
        )

    def chat_stream(self, chunks: int, *, asked: bool = False) -> Iterator[object]:
        """A chat stream of so many chunks of text; asked for its usage by the app or not."""
        more: dict[str, Any] = {"stream_options": {"include_usage": True}} if asked else {}
        create: Any = self._openai.chat.completions.create
        return iter(
            create(model="gpt-4o", messages=_MESSAGES, max_tokens=chunks, stream=True, **more)
        )

    def message_stream(self, chunks: int) -> Iterator[object]:
        """A message stream of so many chunks of text."""
        create: Any = self._anthropic.messages.create
        return iter(
            create(model="claude-sonnet-5", max_tokens=chunks, messages=_MESSAGES, stream=True)
        )

    async def async_chat(self) -> None:
        """One chat completion, awaited."""
        create: Any = self._async_openai.chat.completions.create
        await create(model="gpt-4o", messages=_MESSAGES)
