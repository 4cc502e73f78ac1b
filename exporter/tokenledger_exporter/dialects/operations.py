"""Classifies the operation a span names: billed by a provider, a repeat of other calls, or neither.

The conventions allow custom names (semantic-conventions-genai, `gen_ai.operation.name`, read
2026-11-22), and emitters use many. A span with an unknown name is a call if it reports a model and
tokens, unless its name says that it contains other calls.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from tokenledger_semconv.attributes import OPERATION_NAME

if TYPE_CHECKING:
    from tokenledger_exporter.domain.span_record import SpanRecord

_MAX_SHOWN: Final = 64

BILLABLE_OPERATIONS: Final = frozenset(
    {
        *("chat", "generate_content", "text_completion", "embeddings"),
        *("image_generation", "transcription", "translation", "speech", "moderation"),
    }
)
"""Operations a provider bills. The last five are our instrumentors' names of operations that the
conventions do not name."""

_OTHER_NAMES: Final = {
    **dict.fromkeys(
        (
            *("chatcompletion", "chatcompletions", "messages", "message", "responses", "response"),
            *("inference", "generate", "generation", "converse", "conversestream", "invokemodel"),
            *("completionchat", "llm", "llmcall", "modelcall", "createresponse", "createmessage"),
        ),
        "chat",
    ),
    **dict.fromkeys(
        ("completion", "completions", "textcompletions", "textgeneration"), "text_completion"
    ),
    **dict.fromkeys(("embedding", "embed", "createembedding", "featureextraction"), "embeddings"),
    **{name.replace("_", ""): name for name in BILLABLE_OPERATIONS},
}
# Parts of names of spans whose usage repeats that of the calls they contain.
_CONTAINERS: Final = (
    *("agent", "tool", "function", "workflow", "chain", "session", "graph", "pipeline"),
    *("retriev", "rerank", "memory", "guardrail", "conversation", "handoff"),
)
# Beginnings of words of such names. They also occur inside other words: `run` is in `truncate`.
_CONTAINER_WORDS: Final = (
    *("task", "crew", "plan", "eval", "step", "run", "trace", "flow", "team"),
)
_WORD: Final = re.compile(r"[A-Z]?[a-z]+|[A-Z]+")
# First words of names of spans that fetch the answer of an earlier call.
_LOOKUPS: Final = frozenset(
    {"fetch", "get", "list", "poll", "read", "retrieve", "count", "wait", "cancel", "delete"}
)
_FIRST_WORD: Final = re.compile(r"[^A-Za-z]*([A-Z]*[a-z]*)")


def described(record: SpanRecord) -> str:
    """A span's operation and scope, to name an example of dropped spans."""
    operation = str(record.attributes.get(OPERATION_NAME, ""))[:_MAX_SHOWN]
    return f"operation {operation!r} of {record.scope[:_MAX_SHOWN] or 'no scope'}"


def billed_operation(name: str, *, is_counted: bool) -> str:
    """The conventions' name of an operation; "" if a span of that name is not a call.

    Args:
        name: the span's operation name; not empty.
        is_counted: whether the span reports a model and tokens.
    """
    if name in BILLABLE_OPERATIONS:
        return name
    letters = "".join(filter(str.isalnum, name)).lower()
    known = _OTHER_NAMES.get(letters)
    if known:
        return known
    if not is_counted or not letters or any(part in letters for part in _CONTAINERS):
        return ""
    if any(word.lower().startswith(_CONTAINER_WORDS) for word in _WORD.findall(name)):
        return ""
    first = _FIRST_WORD.match(name)
    return "" if first and first[1].lower() in _LOOKUPS else name
