"""How many tokens a fake call uses: scripted by a header, otherwise derived from the request.

The rule of thumb is four characters a token; what matters is that the same requests in the same
order give the same counts, caches included, so that the demo's money can be checked manually.
"""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Final

from tokenledger_exporter.demo.wire import characters

if TYPE_CHECKING:
    from collections.abc import Hashable

    from tokenledger_exporter.demo.wire import JsonObject

_CHARACTERS_PER_TOKEN: Final = 4
_OVERHEAD: Final = 8
_SENTENCES: Final = (
    "Thank you for writing to us, here is what we found.",
    "The export failed because the invoice held a currency without a rate.",
    "We have set the missing rate and started the export again.",
    "You will get a mail as soon as it is done, usually within an hour.",
    "If anything still looks wrong, answer this message and we will look again.",
)


@dataclass(frozen=True, slots=True)
class Counts:
    """Tokens of one call in the vocabulary of the recorded exchanges' `expected`.

    Args:
        input: input tokens, cache reads and writes included, for both vendors.
        output: output tokens, reasoning included.
        cache_write: cache writes of every lifetime.
        cache_write_1h: those of them with a lifetime of an hour.
        web_search: searches the provider ran.
        service_tier: the tier that served the call; `None` leaves it to the vendor's default.
        usage: the vendor's own usage object, sent unchanged instead of all counts above.
    """

    input: int
    output: int
    cache_read: int = 0
    cache_write: int = 0
    cache_write_1h: int = 0
    reasoning: int = 0
    audio_in: int = 0
    audio_out: int = 0
    web_search: int = 0
    service_tier: str | None = None
    usage: JsonObject | None = None


_PARTS: Final = frozenset(field.name for field in fields(Counts))


def scripted(estimate: Counts, header: str | None) -> Counts:
    """The estimate as an `x-demo-usage` header overrules it.

    The header holds either fields of `Counts` or a vendor's whole usage object. Parts that are
    named without their whole (`cache_read` without `input`) make the whole large enough.
    """
    if header is None:
        return estimate
    parts: JsonObject = json.loads(header)
    if not parts.keys() <= _PARTS:
        return replace(estimate, usage=parts)
    counts = replace(estimate, **parts)
    if "input" not in parts:
        counts = replace(counts, input=max(counts.input, counts.cache_read + counts.cache_write))
    if "output" not in parts:
        counts = replace(counts, output=max(counts.output, counts.reasoning))
    return counts


def tokens(part: object) -> int:
    """Tokens of a part of a request."""
    return characters(part) // _CHARACTERS_PER_TOKEN


def prompt_tokens(body: JsonObject) -> int:
    """Tokens of a whole request."""
    return tokens(body) + _OVERHEAD


def reply(body: JsonObject) -> tuple[str, int]:
    """The text a fake model answers with, and its tokens; longer prompts get other answers."""
    text = " ".join(_SENTENCES[: 1 + characters(body) % len(_SENTENCES)])
    limits = ("max_completion_tokens", "max_output_tokens", "max_tokens")
    limit = next((body[name] for name in limits if isinstance(body.get(name), int)), None)
    count = tokens(text)
    return text, count if limit is None else min(count, limit)


class PromptCache:
    """Which prompt prefixes have been seen: the first call writes, later ones read."""

    def __init__(self) -> None:
        self._lock: Final = threading.Lock()
        self._seen: Final[set[Hashable]] = set()

    def has(self, prefix: Hashable) -> bool:
        """Whether a prefix was looked up before; the lookup adds it."""
        with self._lock:
            known = prefix in self._seen
            self._seen.add(prefix)
            return known
