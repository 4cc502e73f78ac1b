"""Reading Anthropic's answers into token counts: pure functions over SDK objects or mappings.

Source: the usage types of anthropic 0.49.0 and 2.12.0, read 2026-11-22. Anthropic's `input_tokens`
leaves cache reads and cache writes out; the contract's input includes both, so they are added here.
So are the tokens of compactions, which the top-level counts leave out and which are billed.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Final

from tokenledger.reading import Reading, count, mapping_of, part, parts, text
from tokenledger_semconv.attributes import ANTHROPIC_SERVICE_TIER
from tokenledger_semconv.tokens import TokenVector

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Sequence

    from tokenledger.reading import Usage

_TYPE_FIELD: Final = attrgetter("type")
_NO_USAGE: Final = frozenset(
    {"content_block_start", "content_block_delta", "content_block_stop", "message_stop", "ping"}
)


def read_message(message: object) -> Reading:
    """A message."""
    stop_reason = text(message, "stop_reason")
    return _reading(message, mapping_of(part(message, "usage")), stop_reason)


class MessageStream:
    """What a message stream says: `message_start` brings the input, `message_delta` the output.

    A stream broken off in between keeps its input and leaves its output unreported: the
    `output_tokens` of `message_start` is a placeholder, not a count.
    """

    def __init__(self) -> None:
        self.field: Callable[[object], object] = _TYPE_FIELD
        self.quiet: Container[object] = _NO_USAGE
        self._message: object = None
        self._usage: Usage | None = None
        self._stop_reason: str | None = None

    def see(self, chunk: object) -> bool:
        """Read one event; none is ever kept from the app."""
        kind = part(chunk, "type")
        if kind == "message_start":
            self._message = part(chunk, "message")
            usage = mapping_of(part(self._message, "usage")) or {}
            self._usage = {name: usage[name] for name in usage if name != "output_tokens"}
        elif kind == "message_delta":
            self._usage = merged(self._usage or {}, mapping_of(part(chunk, "usage")) or {})
            self._stop_reason = text(part(chunk, "delta"), "stop_reason")
        return False

    def reading(self) -> Reading:
        """What was read so far."""
        return _reading(self._message, self._usage, self._stop_reason)


def merged(earlier: Usage, later: Usage) -> Usage:
    """Two reports of one stream: each is cumulative, so the later one holds in all it says."""
    result: dict[str, object] = dict(earlier)
    for name, value in later.items():
        known, part_of_value = mapping_of(result.get(name)), mapping_of(value)
        if known is not None and part_of_value is not None:
            result[name] = merged(known, part_of_value)
        elif value is not None:
            result[name] = value
    return result


def tokens_of(usage: Usage) -> TokenVector:
    """The token vector of a message's usage object, its compactions included."""
    tools = part(usage, "server_tool_use")
    reports = (usage, *_compactions(usage))
    written = _sum(reports, "cache_creation_input_tokens")
    cached = _sum(reports, "cache_read_input_tokens")
    uncached = _sum_if_told(reports, "input_tokens")
    lifetimes = tuple(part(report, "cache_creation") for report in reports)
    return TokenVector(
        input_tokens=None if uncached is None else uncached + (cached or 0) + (written or 0),
        output_tokens=_sum_if_told(reports, "output_tokens"),
        cached_tokens=cached,
        cache_write_tokens=written,
        cache_write_1h_tokens=_sum(lifetimes, "ephemeral_1h_input_tokens"),
        reasoning_tokens=count(part(usage, "output_tokens_details"), "thinking_tokens"),
        web_search_requests=count(tools, "web_search_requests"),
        code_execution_requests=count(tools, "code_execution_requests"),
    )


def _compactions(usage: Usage) -> tuple[object, ...]:
    """The entries of `iterations` that the top level leaves out and the same model is billed for.

    Ref: `iterations` of anthropic 2.12.0 `types/beta/beta_usage.py`, read 2026-11-22.
    """
    return tuple(
        entry for entry in parts(usage, "iterations") if text(entry, "type") == "compaction"
    )


def _sum(reports: Sequence[object], name: str) -> int | None:
    """A count over all that report it; `None` if none does."""
    told = [value for report in reports if (value := count(report, name)) is not None]
    return sum(told) if told else None


def _sum_if_told(reports: Sequence[object], name: str) -> int | None:
    """The same where the message itself reports it: a part must not pass for the whole."""
    return None if count(reports[0], name) is None else _sum(reports, name)


def _service_tier(usage: Usage | None) -> str | None:
    """The tier that sets the price: fast mode has a price sheet of its own."""
    return "fast" if text(usage, "speed") == "fast" else text(usage, "service_tier")


def _reading(message: object, usage: Usage | None, stop_reason: str | None) -> Reading:
    return Reading(
        response_model=text(message, "model"),
        response_id=text(message, "id"),
        finish_reasons=(stop_reason,) if stop_reason else (),
        tokens=tokens_of(usage) if usage else TokenVector(),
        usage=usage,
        further={ANTHROPIC_SERVICE_TIER: _service_tier(usage)},
    )
