"""Builds the response that a real provider would give: which API, how many tokens, which shape.

Caches work as the vendors' do: OpenAI's by itself from 1,024 tokens in steps of 128 (recorded
traffic), Anthropic's where the request marks a breakpoint. Its floor is 512 to 4,096 tokens by
model (anthropic-sdk-python issue 1194 quotes the list); here it is Sonnet's 1,024 for every model.
Read 2026-11-22.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from tokenledger_exporter.demo import anthropic_wire, openai_wire, refusals, responses_wire
from tokenledger_exporter.demo.counts import (
    Counts,
    prompt_tokens,
    reply,
    scripted,
    tokens,
)
from tokenledger_exporter.demo.wire import Answer, letters, nested, objects

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tokenledger_exporter.demo.counts import (
        PromptCache,
    )
    from tokenledger_exporter.demo.wire import Event, JsonObject

_ROUTES: Final = (
    (re.compile(r"/v1/(chat/completions|responses|embeddings)"), "openai"),
    (re.compile(r"/openai/deployments/[^/]+/(chat/completions|embeddings)"), "azure"),
    (re.compile(r"/openai/v1/(chat/completions|responses|embeddings)"), "azure"),
    (re.compile(r"/v1/(messages)"), "anthropic"),
)
_WINDOWS: Final[Mapping[str, int]] = {"gpt-4o": 128_000, "gpt-4o-mini": 128_000}
_CACHEABLE_TOKENS: Final = 1_024
_CACHE_STEP: Final = 128
_REASONING_STEP: Final = 64
_THINKING_TOKENS: Final = 96


@dataclass(frozen=True, slots=True)
class Route:
    """Which API of which vendor (`openai`, `azure`, `anthropic`) a path belongs to."""

    vendor: str
    endpoint: str


def route(path: str) -> Route | None:
    """The API behind a path; `None` if neither vendor has one."""
    bare = path.partition("?")[0]
    for pattern, vendor in _ROUTES:
        if match := pattern.fullmatch(bare):
            return Route(vendor, match.group(1))
    return None


def answer(where: Route, body: JsonObject, header: str | None, cache: PromptCache) -> Answer:
    """The answer to a request.

    Args:
        where: the API that was called.
        body: the request.
        header: its `x-demo-usage` header, see `counts.scripted`.
        cache: the prompts seen before.
    """
    if where.endpoint == "embeddings":
        estimate = Counts(max(1, tokens(body["input"])), 0)
        return Answer(openai_wire.embeddings(body, scripted(estimate, header)))
    if where.vendor == "anthropic":
        return _anthropic(body, header, cache)
    limit = _WINDOWS.get(body["model"])
    if limit is not None and prompt_tokens(body) > limit:
        return refusals.context_too_long(limit, prompt_tokens(body))
    return _openai(where, body, header, cache)


def vendor_headers(vendor: str) -> dict[str, str]:
    """The headers a vendor adds to every answer, the request id among them.

    Names: developers.openai.com/api/reference/overview and docs.claude.com/en/api/overview, read
    2026-11-22.
    """
    if vendor == "anthropic":
        return {
            "request-id": f"req_01{letters(22)}",
            "anthropic-organization-id": "5d6b5b3a-0000-4000-8000-demo00000000",
            "anthropic-ratelimit-requests-limit": "4000",
            "anthropic-ratelimit-requests-remaining": "3999",
        }
    shared = {"x-request-id": f"req_{letters(32).lower()}", "openai-processing-ms": "12"}
    if vendor == "azure":
        return shared
    return {
        **shared,
        "openai-organization": "org-demo",
        "openai-version": "2020-10-01",
        "x-ratelimit-limit-requests": "10000",
        "x-ratelimit-remaining-requests": "9999",
    }


def _openai(where: Route, body: JsonObject, header: str | None, cache: PromptCache) -> Answer:
    text, output = reply(body)
    thought = _reasoning(body)
    tier = body.get("service_tier")
    estimate = Counts(
        prompt_tokens(body),
        output + thought,
        cache_read=_cached_prefix(body, cache),
        reasoning=thought,
        web_search=_searches(body),
        service_tier=tier if tier in {"flex", "priority"} else None,
    )
    counts = scripted(estimate, header)
    if where.endpoint == "responses":
        whole = responses_wire.response(body, text, counts)
        return _shaped(body, whole, responses_wire.events(whole))
    whole = openai_wire.completion(body, text, counts, azure=where.vendor == "azure")
    include_usage = bool(nested(body, "stream_options").get("include_usage"))
    return _shaped(body, whole, openai_wire.chunks(whole, include_usage=include_usage))


def _anthropic(body: JsonObject, header: str | None, cache: PromptCache) -> Answer:
    text, output = reply(body)
    thinks = nested(body, "thinking").get("type") in {"enabled", "adaptive"}
    thought = _THINKING_TOKENS if thinks else 0
    estimate = Counts(
        prompt_tokens(body), output + thought, reasoning=thought, web_search=_searches(body)
    )
    counts = scripted(_with_breakpoints(estimate, body, cache), header)
    whole = anthropic_wire.message(body, text, counts)
    return _shaped(body, whole, anthropic_wire.events(whole))


def _shaped(body: JsonObject, whole: JsonObject, events: Iterator[Event]) -> Answer:
    return Answer(events=tuple(events)) if body.get("stream") else Answer(whole)


def _reasoning(body: JsonObject) -> int:
    if not openai_wire.reasons(body["model"]):
        return 0
    return _REASONING_STEP * (1 + prompt_tokens(body) % 4)


def _searches(body: JsonObject) -> int:
    kinds = [str(tool.get("type", "")) for tool in objects(body.get("tools"))]
    return sum(kind.startswith("web_search") for kind in kinds)


def _cached_prefix(body: JsonObject, cache: PromptCache) -> int:
    """Tokens OpenAI's cache holds of a prompt: of its instructions, once they were sent before."""
    messages = objects(body.get("messages") or body.get("input"))
    first = body.get("instructions") or (messages[0].get("content") if messages else None)
    whole_steps = tokens(first) // _CACHE_STEP * _CACHE_STEP
    if whole_steps < _CACHEABLE_TOKENS:
        return 0
    return whole_steps if cache.has((body["model"], json.dumps(first))) else 0


def _with_breakpoints(estimate: Counts, body: JsonObject, cache: PromptCache) -> Counts:
    """The estimate with what Anthropic's cache reads and writes at the marked breakpoints."""
    read, marked, lifetime, prefix = 0, 0, "5m", ""
    counted = 0
    for block in _blocks(body):
        counted += tokens(block)
        prefix += json.dumps(block)
        mark = block.get("cache_control")
        if mark is None or counted < _CACHEABLE_TOKENS:
            continue
        marked, lifetime = counted, mark.get("ttl", "5m")
        if cache.has((body["model"], prefix)):
            read = counted
    written = marked - read
    one_hour = written if lifetime == "1h" else 0
    return replace(estimate, cache_read=read, cache_write=written, cache_write_1h=one_hour)


def _blocks(body: JsonObject) -> Iterator[JsonObject]:
    """Content blocks in the order Anthropic caches them: system, then messages."""
    yield from objects(body.get("system"))
    for message in objects(body.get("messages")):
        yield from objects(message.get("content"))
