"""Finds fields of a usage object that say something was billed and that no reader reads.

Providers add such fields without notice: seconds of audio, searches, pages. A row whose usage has
one that is not zero is `partial`, because its cost may lack that part. Tokens are not looked for:
they are parts of the input or output, and the total shows if they are not (`totals`).
"""

import re
from collections.abc import Iterator
from itertools import islice
from typing import Final, cast

from tokenledger_semconv.usage.counts import JsonObject

_MAX_DEPTH: Final = 3
_MAX_FIELDS: Final = 64
_MAX_NAMES: Final = 8
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
_HUMP: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_BILLED: Final = re.compile(
    r"(?:^|_)(?:seconds|minutes|hours|requests|calls|searches|queries|images|videos|pages"
    r"|documents|characters|chars|units|sessions|executions|invocations|megapixels|credits"
    r"|sources_used|tools_used)$"
)
# Everything in such an object is a count of what hosted tools did.
_TOOLS: Final = re.compile(r"(?:^|_)tool_(?:use|usage)(?:_details)?$")
_CITATIONS: Final = "citation_tokens"
_KNOWN: Final = frozenset(
    {
        # They are read.
        *("web_search_requests", "code_execution_requests", "prompt_audio_seconds"),
        "web_search_queries",
        # Anthropic bills only the tokens of fetched pages and of tools that were searched for
        # (platform.claude.com, "Web fetch tool"; docs.digitalocean.com, "Tool search", read
        # 2026-11-28).
        *("web_fetch_requests", "tool_search_requests"),
        # Perplexity bills each search of its deep research, whose answers also have citations. Its
        # other models have a fee per request (docs.perplexity.ai, "Pricing", read 2026-11-28).
        "num_search_queries",
    }
)


def unread_usage(usage: JsonObject) -> str:
    """The unread fields of a usage object that are billed and not zero, in words; "" if none is."""
    names = islice(_unread(usage, "", _MAX_DEPTH, in_tools=False), _MAX_NAMES)
    return "; ".join(f"usage field {name}" for name in dict.fromkeys(names))


def _unread(fields: JsonObject, prefix: str, depth: int, *, in_tools: bool) -> Iterator[str]:
    for name, value in islice(fields.items(), _MAX_FIELDS):
        is_object = isinstance(value, dict)
        if not is_object and (isinstance(value, bool) or not isinstance(value, int | float)):
            continue
        if not _NAME.fullmatch(str(name)):
            continue
        words = _HUMP.sub("_", name).lower()
        if is_object:
            if depth > 1:
                inner = cast("JsonObject", value)
                is_tools = in_tools or _TOOLS.search(words) is not None
                yield from _unread(inner, f"{prefix}{name}.", depth - 1, in_tools=is_tools)
        elif cast("float", value) > 0 and words not in _KNOWN and (in_tools or _is_billed(words)):
            yield prefix + name


def _is_billed(words: str) -> bool:
    return words == _CITATIONS or _BILLED.search(words) is not None


def joined(*unknown: object) -> str:
    """What is unknown of a call, in words, from several sources; "" if nothing is."""
    return "; ".join(dict.fromkeys(str(text) for text in unknown if text))
