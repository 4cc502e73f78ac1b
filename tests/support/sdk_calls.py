"""Every call shape of both SDKs, so that one test can run over all of them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, TypeAlias

from support.loopback import method_of
from support.sdk_releases import needs_thinking

Sdk: TypeAlias = Any
"""A client or an answer of an SDK: the shapes differ, and overloads ask for literal arguments."""

PROMPT = "canary-prompt"
MESSAGES = [{"role": "user", "content": PROMPT}]
PARTS = {"input": 1_200, "output": 50, "cache_read": 200, "reasoning": 7}
HEADERS = {"x-demo-usage": json.dumps(PARTS)}


@dataclass(frozen=True)
class Shape:
    """One way to call an SDK."""

    name: str
    sdk: str
    method: str
    arguments: dict[str, Any]

    @property
    def streams(self) -> bool:
        return self.arguments.get("stream") is True or self.method.endswith(".stream")

    def __str__(self) -> str:
        return self.name


_CHAT = {"model": "gpt-4o", "messages": MESSAGES, "extra_headers": HEADERS}
_RESPONSE = {"model": "gpt-4o", "input": PROMPT, "extra_headers": HEADERS}
_MESSAGE = {
    "model": "claude-sonnet-5",
    "max_tokens": 64,
    "messages": MESSAGES,
    "extra_headers": HEADERS,
}
_STREAM = {"stream": True}

CHAT = Shape("chat", "openai", "chat.completions.create", _CHAT)
CHAT_STREAM = Shape("chat-stream", "openai", "chat.completions.create", _CHAT | _STREAM)
RESPONSE = Shape("response", "openai", "responses.create", _RESPONSE)
RESPONSE_STREAM = Shape("response-stream", "openai", "responses.create", _RESPONSE | _STREAM)
MESSAGE = Shape("message", "anthropic", "messages.create", _MESSAGE)
MESSAGE_STREAM = Shape("message-stream", "anthropic", "messages.create", _MESSAGE | _STREAM)
MESSAGE_HELPER = Shape("message-helper", "anthropic", "messages.stream", _MESSAGE)
BETA_MESSAGE = Shape("beta-message", "anthropic", "beta.messages.create", _MESSAGE)
BETA_STREAM = Shape("beta-stream", "anthropic", "beta.messages.create", _MESSAGE | _STREAM)
BETA_HELPER = Shape("beta-helper", "anthropic", "beta.messages.stream", _MESSAGE)
EMBEDDING = Shape(
    "embedding",
    "openai",
    "embeddings.create",
    {"model": "text-embedding-3-small", "input": PROMPT, "extra_headers": HEADERS},
)

GENERATING = (
    CHAT,
    CHAT_STREAM,
    RESPONSE,
    RESPONSE_STREAM,
    MESSAGE,
    MESSAGE_STREAM,
    MESSAGE_HELPER,
    BETA_MESSAGE,
    BETA_STREAM,
    BETA_HELPER,
)
ALL = (*GENERATING, EMBEDDING)
STREAMS = tuple(shape for shape in ALL if shape.streams)
ITERATED = tuple(shape for shape in STREAMS if shape.arguments.get("stream"))
"""Streams that `create` returns, without a context manager of their own."""


@dataclass(frozen=True)
class Clients:
    """A client of each SDK, all sync or all async."""

    openai: Sdk
    anthropic: Sdk

    def of(self, shape: Shape) -> Sdk:
        return self.openai if shape.sdk == "openai" else self.anthropic


def send(clients: Clients, shape: Shape, **more: object) -> Sdk:
    """Call the method; returns an answer, a stream, a stream manager or a coroutine."""
    needs_thinking(shape.method)
    method = method_of(clients.of(shape), shape.method)
    return method(**{**shape.arguments, **more})


def run(clients: Clients, shape: Shape, **more: object) -> Sdk:
    """Call the method and read its stream to the end; returns the answer or the list of chunks."""
    answer = send(clients, shape, **more)
    if shape.method.endswith(".stream"):
        with answer as stream:
            return list(stream)
    return list(answer) if shape.streams else answer


async def run_async(clients: Clients, shape: Shape, **more: object) -> Sdk:
    """The same with async clients."""
    answer = send(clients, shape, **more)
    if shape.method.endswith(".stream"):
        async with answer as stream:
            return [chunk async for chunk in stream]
    answer = await answer
    return [chunk async for chunk in answer] if shape.streams else answer
