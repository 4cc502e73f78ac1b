"""Gemini's usage objects: of `generateContent` and of the Interactions API.

Sources: ai.google.dev's API references ("UsageMetadata", "Interactions"), read 2026-11-28. The
prompt includes cached tokens; the answer leaves thinking out, and the prompt that of the tools.
"""

import re
from itertools import chain
from typing import Final, cast

from tokenledger_semconv.tokens import TokenVector
from tokenledger_semconv.usage.counts import JsonObject, count_in, largest, object_in, total
from tokenledger_semconv.usage.totals import total_in, with_total

_PROMPT: Final = ("prompt_tokens_details", "promptTokensDetails", "input_tokens_by_modality")
_TOOLS: Final = (
    *("tool_use_prompt_tokens_details", "toolUsePromptTokensDetails"),
    "tool_use_tokens_by_modality",
)
_ANSWER: Final = (
    *("candidates_tokens_details", "candidatesTokensDetails", "response_tokens_details"),
    *("responseTokensDetails", "output_tokens_by_modality"),
)
_CACHE: Final = ("cache_tokens_details", "cacheTokensDetails", "cached_tokens_by_modality")

MODALITY_LISTS: Final = frozenset((*_PROMPT, *_TOOLS, *_ANSWER, *_CACHE))
"""The fields that list how many tokens of a side are text, images, audio, video or documents."""

_COUNTS: Final = ("token_count", "tokenCount", "tokens")
_MAX_ENTRIES: Final = 16
_WORD: Final = re.compile(r"[A-Za-z_]{1,32}")
_AUDIO, _IMAGE, _VIDEO = "AUDIO", "IMAGE", "VIDEO"


def modality_entries(value: object) -> list[JsonObject]:
    """The entries of a list of modalities, each with a modality and a count and nothing else."""
    entries: list[JsonObject] = []
    for item in cast("list[object]", value)[:_MAX_ENTRIES] if isinstance(value, list) else ():
        fields = cast("JsonObject", item) if isinstance(item, dict) else {}
        # Python's client prints an enumeration's member: `MediaModality.TEXT`.
        modality = str(fields.get("modality")).rpartition(".")[2]
        count = count_in(fields, *_COUNTS)
        if count is not None and _WORD.fullmatch(modality):
            entries.append({"modality": modality, "token_count": count})
    return entries


def generate_content_tokens(usage: JsonObject) -> TokenVector:
    """The usage of `generateContent`, in either spelling."""
    return _tokens(
        usage,
        prompt=count_in(usage, "prompt_token_count", "promptTokenCount"),
        tools=count_in(usage, "tool_use_prompt_token_count", "toolUsePromptTokenCount"),
        answer=count_in(
            usage,
            *("candidates_token_count", "candidatesTokenCount"),
            *("response_token_count", "responseTokenCount"),
        ),
        thoughts=count_in(usage, "thoughts_token_count", "thoughtsTokenCount"),
        cached=count_in(usage, "cached_content_token_count", "cachedContentTokenCount"),
    )


def interaction_tokens(usage: JsonObject) -> TokenVector:
    """The usage of the Interactions API."""
    return _tokens(
        usage,
        prompt=count_in(usage, "total_input_tokens"),
        tools=count_in(usage, "total_tool_use_tokens"),
        answer=count_in(usage, "total_output_tokens"),
        thoughts=count_in(usage, "total_thought_tokens"),
        cached=count_in(usage, "total_cached_tokens"),
    )


def video_tokens(usage: JsonObject) -> int | None:
    """Input tokens that are video, which are not in the token vector; `None` if not reported.

    Hosts that copy OpenAI's shape count them in the details of the prompt.
    """
    lists = [modality_entries(usage.get(name)) for name in (*_PROMPT, *_TOOLS)]
    counts = [
        cast("int", entry["token_count"])
        for entry in chain.from_iterable(lists)
        if str(entry["modality"]).upper() == _VIDEO
    ]
    details = (object_in(usage, name) for name in ("prompt_tokens_details", "input_tokens_details"))
    return total(*counts, *(count_in(detail, "video_tokens") for detail in details))


def _tokens(  # noqa: PLR0913 - the counts of one usage object
    usage: JsonObject,
    *,
    prompt: int | None,
    tools: int | None,
    answer: int | None,
    thoughts: int | None,
    cached: int | None,
) -> TokenVector:
    prompts, answers, cache = (
        _modalities(usage, *_PROMPT, *_TOOLS),
        _modalities(usage, *_ANSWER),
        _modalities(usage, *_CACHE),
    )
    tokens = TokenVector(
        input_tokens=total(prompt, tools),
        output_tokens=total(answer, thoughts),
        cached_tokens=cached,
        reasoning_tokens=thoughts,
        # What was cached is part of the prompt, also where the prompt's list leaves it out.
        audio_input_tokens=largest(prompts.get(_AUDIO), cache.get(_AUDIO)),
        image_input_tokens=largest(prompts.get(_IMAGE), cache.get(_IMAGE)),
        audio_output_tokens=answers.get(_AUDIO),
        image_output_tokens=answers.get(_IMAGE),
        cached_audio_tokens=cache.get(_AUDIO) if cached else None,
        cached_image_tokens=cache.get(_IMAGE) if cached else None,
    )
    return with_total(tokens, total_in(usage))


def _modalities(usage: JsonObject, *names: str) -> dict[str, int]:
    """Audio and images among the modalities of one side; empty if the side is not split."""
    lists = [entries for name in names if (entries := modality_entries(usage.get(name)))]
    if not lists:
        return {}
    counts = {_AUDIO: 0, _IMAGE: 0}
    for entry in (entry for entries in lists for entry in entries):
        modality = str(entry["modality"]).upper()
        if modality in counts:
            counts[modality] += cast("int", entry["token_count"])
    return counts
