"""Reads the billed use of a response's hosted tools: searches, containers, images.

Source: `tool_usage` of openai 3.57.0 (types/responses/response.py), OpenAI's "Web search" (output
and citations) and "Pricing" (tools), read 2026-11-26 in copies of August to October.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from tokenledger._usage.fields import (
    CountMap,
    add_counts,
    encoded,
    fields_of,
    mapping_of,
    parts,
    text,
)
from tokenledger_semconv import attributes as names

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tokenledger._usage.fields import Attributes

# A response draws a handful of images; each of them is a row.
_MAX_ENTRIES: Final = 64
_WEB, _IMAGE, _SHELL = "web_search_call", "image_generation_call", "shell_call"
_CONTAINER: Final = "code_interpreter_call"
_TOOLS: Final = CountMap(
    {
        _WEB: names.WEB_SEARCH_REQUESTS,
        "file_search_call": names.FILE_SEARCH_REQUESTS,
        _CONTAINER: names.CODE_EXECUTION_REQUESTS,
    }
)
TOOL_KINDS: Final = frozenset((*_TOOLS.fields, _IMAGE, _SHELL))
"""Items of a response's output that are, or may be, billed in addition to its tokens."""

# "Search actions incur a tool call cost"; an older answer names no action.
_BILLED_ACTIONS: Final = (None, "search")
_HOSTED: Final = "container_reference"
_PREVIEW: Final = "web_search_preview"
_WITHOUT_REASONING: Final = "gpt-4"
_WITH_FIXED_CONTENT: Final = ("gpt-4o-mini", "gpt-4.1-mini")

_UNKNOWN_IMAGES: Final = "what the image_generation tool used"
_UNKNOWN_PREVIEW: Final = "what web_search_preview costs with this model"
_UNKNOWN_CONTENT: Final = "whether the 8,000 input tokens billed for a search's results are counted"


def add_tools(attributes: Attributes, response: Mapping[str, Any], *, has_items: bool) -> None:
    """Add what the hosted tools of a response used; its own tokens are read elsewhere.

    Args:
        attributes: what is known of the response.
        response: the response.
        has_items: whether its output holds items of `TOOL_KINDS`.
    """
    usage = fields_of(response.get("tool_usage"))
    searches = fields_of(usage.get("web_search")).get("num_requests")
    image_usage = fields_of(usage.get("image_gen"))
    has_drawn = image_usage.get("output_tokens") or image_usage.get("input_tokens")
    if not has_items and not searches and not has_drawn:
        # Every answer that used no tool looks like this.
        return
    output = parts(response, "output")
    add_counts(attributes, Counter(map(_billed, output)), _TOOLS)
    if searches.__class__ is int and (searches or names.WEB_SEARCH_REQUESTS in attributes):
        # The provider's number leaves out discounted searches, and actions that only opened a page.
        attributes[names.WEB_SEARCH_REQUESTS] = searches
    images = [item for item in output if text(item, "type") == _IMAGE]
    unknown = list(_unknown_searches(response)) if attributes.get(names.WEB_SEARCH_REQUESTS) else []
    entries: list[object] = []
    if has_drawn:
        entries.append(_entry("image_generation", _image_model(response), usage["image_gen"]))
    elif any(text(item, "result") and not fields_of(item).get("svg_usage") for item in images):
        unknown.append(_UNKNOWN_IMAGES)
    entries += [
        _entry("svg", text(svg_usage, "model"), svg_usage)
        for item in images
        if (svg_usage := fields_of(item).get("svg_usage")) is not None
    ]
    _put(attributes, entries)
    if unknown:
        attributes[names.UNKNOWN_USAGE] = "; ".join(unknown)


def add_svg(attributes: Attributes, svg_usage: object) -> None:
    """Add the tokens of writing an SVG; its model differs from the one that drew."""
    if svg_usage is not None:
        _put(attributes, [_entry("svg", text(svg_usage, "model"), svg_usage)])


def _put(attributes: Attributes, entries: list[object]) -> None:
    if document := encoded(entries[:_MAX_ENTRIES]) if entries else "":
        attributes[names.FURTHER_USAGE] = document


def _entry(kind: str, model: str | None, usage: object) -> dict[str, object]:
    return {**(mapping_of(usage) or {}), "type": kind, "model": model or ""}


def _billed(item: object) -> str:
    """What an item of the output is billed as; "" if only its tokens are billed."""
    kind = text(item, "type") or ""
    fields = fields_of(item)
    if kind == _WEB and fields_of(fields.get("action")).get("type") not in _BILLED_ACTIONS:
        return ""
    if kind == _SHELL:
        is_hosted = fields_of(fields.get("environment")).get("type") == _HOSTED
        return _CONTAINER if is_hosted else ""
    return kind


def _image_model(response: Mapping[str, Any]) -> str | None:
    """The answer repeats the tools of its request, with the image model that was used."""
    tools = parts(response, "tools")
    return next((text(tool, "model") for tool in tools if text(tool, "type") == _IMAGE[:-5]), None)


def _unknown_searches(response: Mapping[str, Any]) -> Iterator[str]:
    """Costs of searches that are neither reported nor on the price list.

    For models without reasoning, the preview tool has a separate price, and the tokens of its
    results are free. With the other tool, small models are billed a fixed number of tokens.
    """
    model = text(response, "model") or ""
    kinds = [text(tool, "type") or "" for tool in parts(response, "tools")]
    if any(kind.startswith(_PREVIEW) for kind in kinds):
        if model.startswith(_WITHOUT_REASONING):
            yield _UNKNOWN_PREVIEW
    elif model.startswith(_WITH_FIXED_CONTENT):
        yield _UNKNOWN_CONTENT
