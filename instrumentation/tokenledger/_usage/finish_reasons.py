"""Why a model stopped, in the conventions' words where they have one.

The words are those of `FinishReason` in the conventions' JSON schemas
(open-telemetry/semantic-conventions-genai, checked 2026-11-28). Any other word stays as it is. The
providers' words: openai 3.57.0, anthropic 2.14.0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tokenledger._usage.fields import text
from tokenledger_semconv import attributes as names
from tokenledger_semconv.dimensions import MAX_VALUE_LENGTH

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tokenledger._usage.fields import Attributes


class _Reasons(dict[str, "tuple[str, ...]"]):
    """A provider's word -> the finish reasons of an answer; a word without another stays."""

    def __missing__(self, word: str) -> tuple[str, ...]:
        return (word,)


STOPPED: Final = ("stop",)
"""The model said all it wanted to say."""

CALLED_TOOLS: Final = ("tool_call",)
"""The model waits for the app to run a tool."""

ANTHROPIC_REASONS: Final = _Reasons(
    {
        "end_turn": STOPPED,
        "stop_sequence": STOPPED,
        "tool_use": CALLED_TOOLS,
        "max_tokens": ("length",),
        "model_context_window_exceeded": ("length",),
    }
)
"""Anthropic's stop reason -> finish reasons. A refusal keeps its word, which decides what is
billed."""

CALLS_OF_APP: Final = frozenset(
    {
        *("function_call", "custom_tool_call", "computer_call"),
        *("local_shell_call", "apply_patch_call"),
    }
)
"""Responses' items that wait for the app, unlike the calls that the provider runs itself."""

UNFINISHED: Final = frozenset({"queued", "in_progress"})
"""States of a response that has not ended."""

_ENDINGS: Final = {"completed": "stop", "failed": "error", "cancelled": "error"}
_INCOMPLETE: Final = {"max_output_tokens": "length"}


def add_ending(
    attributes: Attributes, fields: Mapping[str, Any], details: object, error: object
) -> None:
    """Add why a response ended. It is one generation, so it has one reason.

    Args:
        attributes: gets the reason, and the error's code of a response that failed.
        fields: the response.
        details: why it is incomplete.
        error: why it failed.
    """
    status = fields.get("status")
    if not isinstance(status, str) or not status or status in UNFINISHED:
        return
    reason = _ENDINGS.get(status, status)
    if status == "incomplete":
        cause = text(details, "reason") or status
        reason = _INCOMPLETE.get(cause, cause)
    attributes[names.FINISH_REASONS] = (reason[:MAX_VALUE_LENGTH],)
    if status == "failed":
        code = text(error, "code") or text(error, "type") or "response.failed"
        attributes[names.ERROR_TYPE] = code[:MAX_VALUE_LENGTH]
