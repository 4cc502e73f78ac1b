"""OpenAI's chat completions and embeddings as they go over the wire, Azure's variant included.

Shapes: the OpenAPI types of openai-python 3.54 and recorded traffic, read 2026-11-22. A stream is
cut from the complete answer, so both carry the same numbers.
"""

from __future__ import annotations

import base64
import math
import struct
import time
import zlib
from typing import TYPE_CHECKING, Final, cast

from tokenledger_exporter.demo.wire import Event, deltas, letters

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tokenledger_exporter.demo.counts import Counts
    from tokenledger_exporter.demo.wire import JsonObject

_SNAPSHOTS: Final[Mapping[str, str]] = {
    "gpt-4o": "gpt-4o-2024-08-06",
    "gpt-4o-mini": "gpt-4o-mini-2024-07-18",
    "gpt-5": "gpt-5-2025-08-07",
    "gpt-5-mini": "gpt-5-mini-2025-08-07",
}
_DIMENSIONS: Final[Mapping[str, int]] = {"text-embedding-3-large": 3072}
_FILTERS: Final = {
    kind: {"filtered": False, "severity": "safe"} for kind in ("hate", "self_harm", "violence")
}


def snapshot(model: str) -> str:
    """The dated model that answers for an alias; any other name answers for itself."""
    return _SNAPSHOTS.get(model, model)


def reasons(model: str) -> bool:
    """Whether a model thinks before it answers."""
    return model.startswith(("gpt-5", "o1", "o3", "o4"))


def completion(body: JsonObject, text: str, counts: Counts, *, azure: bool = False) -> JsonObject:
    """A complete chat answer."""
    message: JsonObject = {"role": "assistant", "content": text, "refusal": None}
    choice: JsonObject = {
        "index": 0,
        "message": {**message, "annotations": []},
        "logprobs": None,
        "finish_reason": "stop",
    }
    made: JsonObject = {
        "id": f"chatcmpl-{letters(29)}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": snapshot(body["model"]),
        "choices": [{**choice, "content_filter_results": _FILTERS} if azure else choice],
        "usage": _chat_usage(counts),
        "service_tier": counts.service_tier or "default",
        "system_fingerprint": "fp_560af6e559",
    }
    if azure:
        del made["service_tier"]
        made["prompt_filter_results"] = [{"prompt_index": 0, "content_filter_results": _FILTERS}]
    return made


def chunks(whole: JsonObject, *, include_usage: bool) -> Iterator[Event]:
    """The answer as a stream.

    If usage is requested, OpenAI sends `"usage": null` on every chunk, and the numbers on one more
    chunk without choices. If it is not requested, no chunk has the field.
    """
    names = ("id", "created", "model", "service_tier", "system_fingerprint")
    base: JsonObject = {name: whole[name] for name in names if name in whole}
    base["object"] = "chat.completion.chunk"
    if "prompt_filter_results" in whole:
        blank: JsonObject = {"choices": [], "created": 0, "id": "", "model": "", "object": ""}
        yield Event(None, {**blank, "prompt_filter_results": whole["prompt_filter_results"]})
    usage: JsonObject = {"usage": None} if include_usage else {}
    for delta, finish in _choice_deltas(whole["choices"][0]["message"]["content"]):
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        yield Event(None, {**base, "choices": [choice], **usage, "obfuscation": letters(7)})
    if include_usage:
        yield Event(None, {**base, "choices": [], "usage": whole["usage"], "obfuscation": ""})
    yield Event(None, "[DONE]")


def embeddings(body: JsonObject, counts: Counts) -> JsonObject:
    """An embeddings answer: word counts as vectors, so that like texts have like vectors."""
    width = body.get("dimensions") or _DIMENSIONS.get(body["model"], 1536)
    vectors = [_vector(text, width) for text in _texts(body["input"])]
    as_text = body.get("encoding_format") == "base64"
    return {
        "object": "list",
        "data": [
            {"object": "embedding", "index": index, "embedding": _packed(v) if as_text else v}
            for index, v in enumerate(vectors)
        ],
        "model": body["model"],
        "usage": counts.usage or {"prompt_tokens": counts.input, "total_tokens": counts.input},
    }


def _choice_deltas(text: str) -> Iterator[tuple[JsonObject, str | None]]:
    yield {"role": "assistant", "content": "", "refusal": None}, None
    for piece in deltas(text):
        yield {"content": piece}, None
    yield {}, "stop"


def _chat_usage(counts: Counts) -> JsonObject:
    if counts.usage is not None:
        return counts.usage
    prompt = {"cached_tokens": counts.cache_read, "audio_tokens": counts.audio_in}
    if counts.cache_write:
        prompt["cache_write_tokens"] = counts.cache_write
    return {
        "prompt_tokens": counts.input,
        "completion_tokens": counts.output,
        "total_tokens": counts.input + counts.output,
        "prompt_tokens_details": prompt,
        "completion_tokens_details": {
            "reasoning_tokens": counts.reasoning,
            "audio_tokens": counts.audio_out,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def _texts(value: object) -> list[str]:
    """The inputs of an embeddings request: a text, texts, tokens or lists of tokens."""
    if isinstance(value, list):
        items = cast("list[object]", value)
        single = bool(items) and isinstance(items[0], int)
        return [str(items)] if single else [str(item) for item in items]
    return [str(value)]


def _vector(text: str, width: int) -> list[float]:
    counted = [0.0] * width
    for word in text.lower().split():
        counted[zlib.crc32(word.strip(".,:;!?").encode()) % width] += 1.0
    length = math.sqrt(sum(value * value for value in counted)) or 1.0
    return [value / length for value in counted]


def _packed(vector: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
