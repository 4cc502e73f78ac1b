"""Reading what the hosted tools of a response are billed by: searches, containers, images.

Source: `tool_usage` of openai 3.57.0 (types/responses/response.py), OpenAI's "Web search" (output
and citations) and "Pricing" (tools), read 2026-11-26 in copies of August to October.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from tokenledger.reading import Counts, add_counts, encoded, fields_of, mapping_of, parts, text
from tokenledger_semconv import attributes as names

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tokenledger.reading import Found

# A response draws a handful of images; each of these is a row.
_MOST_FURTHER: Final = 64
_WEB, _IMAGE, _SHELL = "web_search_call", "image_generation_call", "shell_call"
_CONTAINER: Final = "code_interpreter_call"
_TOOLS: Final = Counts(
    {
        _WEB: names.WEB_SEARCH_REQUESTS,
        "file_search_call": names.FILE_SEARCH_REQUESTS,
        _CONTAINER: names.CODE_EXECUTION_REQUESTS,
    }
)
TOOL_KINDS: Final = frozenset((*_TOOLS.fields, _IMAGE, _SHELL))
"""Items of a response's output that are billed beside its tokens, or may be."""

# "Search actions incur a tool call cost"; an older answer names no action.
_BILLED_ACTIONS: Final = (None, "search")
_HOSTED: Final = "container_reference"
_PREVIEW: Final = "web_search_preview"
_WITHOUT_REASONING: Final = "gpt-4"
_WITH_FIXED_CONTENT: Final = ("gpt-4o-mini", "gpt-4.1-mini")

_UNKNOWN_IMAGES: Final = "what the image_generation tool used"
_UNKNOWN_PREVIEW: Final = "what web_search_preview costs with this model"
_UNKNOWN_CONTENT: Final = "whether the 8,000 input tokens billed for a search's results are counted"


def add_tools(found: Found, response: Mapping[str, Any], *, has_items: bool) -> None:
    """What the hosted tools of a response used; its own tokens are read already.

    Args:
        found: what is known of the response.
        response: the response.
        has_items: whether its output holds items of `TOOL_KINDS`.
    """
    usage = fields_of(response.get("tool_usage"))
    searches = fields_of(usage.get("web_search")).get("num_requests")
    drawn = fields_of(usage.get("image_gen"))
    has_drawn = drawn.get("output_tokens") or drawn.get("input_tokens")
    if not has_items and not searches and not has_drawn:
        # What every answer tells that used no tool.
        return
    output = parts(response, "output")
    add_counts(found, Counter(map(_billed, output)), _TOOLS)
    if searches.__class__ is int and (searches or names.WEB_SEARCH_REQUESTS in found):
        # Without what is discounted, and what only opened a page.
        found[names.WEB_SEARCH_REQUESTS] = searches
    images = [item for item in output if text(item, "type") == _IMAGE]
    unknown = list(_unknown_searches(response)) if found.get(names.WEB_SEARCH_REQUESTS) else []
    further: list[object] = []
    if has_drawn:
        further.append(_further("image_generation", _image_model(response), usage["image_gen"]))
    elif any(text(item, "result") and not fields_of(item).get("svg_usage") for item in images):
        unknown.append(_UNKNOWN_IMAGES)
    further += [
        _further("svg", text(written, "model"), written)
        for item in images
        if (written := fields_of(item).get("svg_usage")) is not None
    ]
    _put(found, further)
    if unknown:
        found[names.UNKNOWN_USAGE] = "; ".join(unknown)


def add_svg(found: Found, written: object) -> None:
    """The tokens of writing an SVG: another model's than the one that drew, and told apart."""
    if written is not None:
        _put(found, [_further("svg", text(written, "model"), written)])


def _put(found: Found, further: list[object]) -> None:
    if told := encoded(further[:_MOST_FURTHER]) if further else "":
        found[names.FURTHER_USAGE] = told


def _further(kind: str, model: str | None, usage: object) -> dict[str, object]:
    return {**(mapping_of(usage) or {}), "type": kind, "model": model or ""}


def _billed(item: object) -> str:
    """What an item of the output is billed as; "" for nothing beside tokens."""
    kind = text(item, "type") or ""
    told = fields_of(item)
    if kind == _WEB and fields_of(told.get("action")).get("type") not in _BILLED_ACTIONS:
        return ""
    if kind == _SHELL:
        is_hosted = fields_of(told.get("environment")).get("type") == _HOSTED
        return _CONTAINER if is_hosted else ""
    return kind


def _image_model(response: Mapping[str, Any]) -> str | None:
    """The answer repeats the tools it was given, with the image model it took."""
    tools = parts(response, "tools")
    return next((text(tool, "model") for tool in tools if text(tool, "type") == _IMAGE[:-5]), None)


def _unknown_searches(response: Mapping[str, Any]) -> Iterator[str]:
    """What is billed of searches and neither told nor on the list.

    The preview tool has a price of its own for models that do not reason, with the results' tokens
    free; with the other tool, small models are billed a fixed number of tokens for them.
    """
    model = text(response, "model") or ""
    kinds = [text(tool, "type") or "" for tool in parts(response, "tools")]
    if any(kind.startswith(_PREVIEW) for kind in kinds):
        if model.startswith(_WITHOUT_REASONING):
            yield _UNKNOWN_PREVIEW
    elif model.startswith(_WITH_FIXED_CONTENT):
        yield _UNKNOWN_CONTENT
