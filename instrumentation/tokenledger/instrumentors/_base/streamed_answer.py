"""The answer of a stream, put together from its chunks: only while content is captured.

Its text is bounded. What comes after is left out, and a part of type `truncated` says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tokenledger._usage.fields import fields_of, parts, text
from tokenledger.instrumentors._base.message_parts import (
    answer_parts,
    parts_of,
    text_part,
    tool_call_part,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tokenledger.instrumentors._base.message_parts import Part

MAX_CHARACTERS: Final = 1_000_000
"""The most text of one answer that is held."""

_RESPONSE_TEXTS: Final = {
    "response.output_text.delta": "text",
    "response.refusal.delta": "refusal",
    "response.reasoning_text.delta": "reasoning",
    "response.reasoning_summary_text.delta": "reasoning",
}
_DELTAS: Final = {
    "text_delta": ("text", "text"),
    "thinking_delta": ("reasoning", "thinking"),
    "input_json_delta": ("tool_call", "partial_json"),
}
_CHAT_TEXTS: Final = {
    "reasoning_content": "reasoning",
    "reasoning": "reasoning",
    "content": "text",
    "refusal": "refusal",
}


class _Block:
    """One part of a message whose text arrives in pieces."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.identity: object = None
        self.name: object = None
        self.pieces: list[str] = []
        self.whole: object = None

    def part(self) -> Part:
        """The part."""
        content = "".join(self.pieces)
        if self.kind == "tool_call":
            return tool_call_part(self.identity, self.name, content)
        if self.whole is not None and not content:
            return parts_of([self.whole])[0]
        return (
            text_part(content) if self.kind == "text" else {"type": self.kind, "content": content}
        )


class StreamedAnswer:
    """Collects the chunks of one stream, of any API."""

    def __init__(self) -> None:
        # Choice -> its blocks, by what names them in the stream.
        self._choices: dict[int, dict[object, _Block]] = {}
        self._whole: list[Part] | None = None
        self._last: object = None
        self._room = MAX_CHARACTERS

    def add(self, chunk: object) -> None:
        """Read one chunk; reading the last one again changes nothing."""
        if chunk is self._last:
            return
        self._last = chunk
        fields = fields_of(chunk)
        kind = fields.get("type")
        if "choices" in fields:
            for choice in parts(chunk, "choices"):
                self._add_choice(fields_of(choice))
        elif kind in _RESPONSE_TEXTS:
            where = (kind, fields.get("item_id"), fields.get("content_index"))
            self._append(self._block(0, where, _RESPONSE_TEXTS[kind]), fields.get("delta"))
        elif isinstance(kind, str) and fields.get("response") is not None:
            # The last event has the whole answer, with its tool calls.
            if output := parts(fields["response"], "output"):
                self._whole = answer_parts(output)
        elif kind == "content_block_start":
            self._start_block(fields.get("index"), fields_of(fields.get("content_block")))
        elif kind == "content_block_delta":
            self._add_delta(fields.get("index"), fields_of(fields.get("delta")))

    def messages(self, reasons: tuple[str, ...]) -> list[dict[str, Any]]:
        """The messages so far, one for each choice.

        Args:
            reasons: why each choice ended, as far as it is known.
        """
        answers = (
            [
                [block.part() for block in blocks.values()]
                for _, blocks in sorted(self._choices.items())
            ]
            if self._whole is None
            else [self._whole]
        )
        if self._room <= 0 and self._whole is None:
            answers[-1:] = [[*answers[-1], {"type": "truncated"}]]
        return [
            output_message(answer, reasons[index] if index < len(reasons) else None)
            for index, answer in enumerate(answers)
        ]

    def _add_choice(self, choice: Mapping[str, Any]) -> None:
        number = choice.get("index") or 0
        if piece := choice.get("text"):
            self._append(self._block(number, "text", "text"), piece)
        delta = fields_of(choice.get("delta"))
        for name, kind in _CHAT_TEXTS.items():
            if piece := delta.get(name):
                self._append(self._block(number, kind, kind), piece)
        for call in parts(delta, "tool_calls"):
            fields = fields_of(call)
            function = fields_of(fields.get("function") or fields.get("custom"))
            block = self._block(number, ("tool_call", fields.get("index")), "tool_call")
            block.identity = fields.get("id") or block.identity
            block.name = function.get("name") or block.name
            self._append(block, function.get("arguments") or function.get("input"))

    def _start_block(self, index: object, block: Mapping[str, Any]) -> None:
        kind = block.get("type")
        kinds = {"text": "text", "thinking": "reasoning", "tool_use": "tool_call"}
        started = self._block(0, index, kinds.get(str(kind), str(kind)))
        started.identity, started.name = block.get("id"), block.get("name")
        if kind not in kinds:
            started.whole = block
        self._append(started, text(block, "text") or text(block, "thinking"))

    def _add_delta(self, index: object, delta: Mapping[str, Any]) -> None:
        if known := _DELTAS.get(str(delta.get("type"))):
            kind, field = known
            block = self._block(0, index, kind)
            if block.whole is None:
                self._append(block, delta.get(field))

    def _block(self, choice: int, where: object, kind: str) -> _Block:
        blocks = self._choices.setdefault(choice, {})
        block = blocks.get(where)
        if block is None:
            block = blocks[where] = _Block(kind)
        return block

    def _append(self, block: _Block, piece: object) -> None:
        if isinstance(piece, str) and piece and self._room > 0:
            block.pieces.append(piece[: self._room])
            self._room -= len(piece)


def output_message(answer: list[Part], reason: str | None) -> dict[str, Any]:
    """An answer of the model.

    Its `finish_reason` repeats the span's attribute: the newest schema deprecates it, and the
    published one requires it.
    """
    # OpenAI's words of chat for the one word of the schema.
    word = "tool_call" if reason in {"tool_calls", "function_call"} else reason
    message: dict[str, Any] = {"role": "assistant", "parts": answer}
    return message if word is None else {**message, "finish_reason": word}
