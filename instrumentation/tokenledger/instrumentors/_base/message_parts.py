"""Messages of any provider as the conventions' messages: a role, and parts of known types.

Source: the JSON schemas of open-telemetry/semantic-conventions-genai (`model/gen-ai/`: input and
output messages, tool definitions), checked 2026-11-28. A part without a type there keeps its
provider's type and fields, which the schemas allow.

Only lists, tuples, dictionaries and the fields of an SDK's objects are walked. The SDKs accept any
iterable in their place. One that can be read only once belongs to the request, so only its class
name is recorded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from tokenledger._usage.fields import fields_of, part, read_json, text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

Part = dict[str, Any]
"""A part of a message, as JSON can hold it."""

# Deeper than the messages of any API.
_MAX_DEPTH: Final = 32
_TEXTS: Final = frozenset({"text", "input_text", "output_text", "summary_text", "reasoning_text"})
# Responses' items of the model, whose type ends otherwise than in `_call`.
_ITEMS_OF_MODEL: Final = frozenset({"reasoning", "compaction"})
_OUTPUT: Final = "_call_output"
_CALL: Final = "_call"
_TOOL_CALLS: Final = frozenset({"function_call", "custom_tool_call"})
_MESSAGES: Final = frozenset({"message", ""})


def messages_of(content: object, role: str) -> list[dict[str, Any]]:
    """The messages of a request: text, or a list of messages, of items or of texts.

    Args:
        content: what was sent.
        role: the role of text without one.
    """
    if isinstance(content, str):
        return [{"role": role, "parts": [text_part(content)]}]
    return [message_of(message, role) for message in _items(content) if not _is_number(message)]


def message_of(message: object, role: str) -> dict[str, Any]:
    """One message, or one item of a Responses request."""
    if isinstance(message, str):
        return {"role": role, "parts": [text_part(message)]}
    fields = fields_of(message)
    kind = fields.get("type") or ""
    if kind not in _MESSAGES and "role" not in fields:
        return {"role": _role_of_item(kind, role), "parts": list(_item_parts(message, kind))}
    named = {"name": name} if (name := text(message, "name")) else {}
    role = text(message, "role") or role
    if role in {"tool", "function"}:
        identity = fields.get("tool_call_id") or fields.get("name")
        return {"role": "tool", "parts": [_response(identity, fields.get("content"))]}
    return {"role": role, "parts": message_parts(message), **named}


def message_parts(message: object) -> list[Part]:
    """The parts of a chat message, of Anthropic's message, or of Responses' message item."""
    fields = fields_of(message)
    parts: list[Part] = []
    for name in ("reasoning_content", "reasoning"):
        if reasoning := text(message, name):
            parts.append({"type": "reasoning", "content": reasoning})
            break
    parts += parts_of(fields.get("content"))
    if refusal := text(message, "refusal"):
        parts.append({"type": "refusal", "content": refusal})
    if audio := fields.get("audio"):
        parts += _spoken(audio)
    parts += [_tool_call(call) for call in _items(fields.get("tool_calls"))]
    if function := fields.get("function_call"):
        parts.append(_named_call(None, function, part(function, "arguments")))
    return parts


def parts_of(content: object) -> list[Part]:
    """The parts of a message's content: text, or a list of the provider's blocks."""
    if content is None:
        return []
    if isinstance(content, str):
        return [text_part(content)]
    if not isinstance(content, (list, tuple)):
        return [_generic(content)]
    return [_block_part(block) for block in cast("Sequence[object]", content)]


def answer_parts(items: object) -> list[Part]:
    """The parts of a Responses answer: its items are one generation."""
    parts: list[Part] = []
    for item in _items(items):
        parts += _item_parts(item, str(part(item, "type") or ""))
    return parts


def text_part(content: str) -> Part:
    """Text."""
    return {"type": "text", "content": content}


def tool_call_part(identity: object, name: object, arguments: object) -> Part:
    """A tool call that the model requests; arguments that are JSON are decoded."""
    decoded = arguments
    if isinstance(arguments, str) and arguments:
        decoded = read_json(arguments)
        decoded = arguments if decoded is None else decoded
    return {
        "type": "tool_call",
        "id": identity if isinstance(identity, str) else None,
        "name": str(name or ""),
        "arguments": plain(decoded),
    }


def tool_definitions(tools: object) -> list[Part]:
    """The tools of a request: functions with their schema, and the provider's own by their type."""
    return [_definition(tool) for tool in _items(tools) if fields_of(tool)]


def _definition(tool: object) -> Part:
    kind = text(tool, "type") or "custom"
    function = part(tool, "function") if kind == "function" else None
    source = fields_of(tool if function is None else function)
    schema = source.get("parameters") or source.get("input_schema")
    name = text(source, "name") or kind
    if kind == "function" or schema:
        kind = "function"
    definition: Part = {"type": kind, "name": name}
    if description := text(source, "description"):
        definition["description"] = description
    if schema:
        definition["parameters"] = plain(schema)
    return definition


def _role_of_item(kind: str, role: str) -> str:
    if kind.endswith(_OUTPUT):
        return "tool"
    return "assistant" if kind.endswith(_CALL) or kind in _ITEMS_OF_MODEL else role


def _item_parts(item: object, kind: str) -> Iterator[Part]:
    """The parts of a Responses item; none of a message without content."""
    fields = fields_of(item)
    if kind in _MESSAGES:
        yield from parts_of(fields.get("content"))
    elif kind == "reasoning":
        shown = [*_items(fields.get("content")), *_items(fields.get("summary"))]
        content = "\n".join(filter(None, (text(each, "text") for each in shown)))
        # Reasoning that the provider encrypts has no text.
        yield {"type": "reasoning", "content": content}
    elif kind in _TOOL_CALLS:
        arguments = fields.get("arguments", fields.get("input"))
        yield tool_call_part(fields.get("call_id"), fields.get("name"), arguments)
    elif kind.endswith(_OUTPUT):
        yield _response(fields.get("call_id"), fields.get("output"))
    elif kind.endswith(_CALL):
        name = text(item, "name") or kind.removesuffix(_CALL)
        yield _server_call(fields.get("id"), name, _generic(item))
    else:
        yield _block_part(item)


def _block_part(block: object) -> Part:
    """A block of a message's content."""
    if isinstance(block, str):
        return text_part(block)
    kind = text(block, "type") or ""
    if kind in _TEXTS or (not kind and text(block, "text")):
        return text_part(text(block, "text") or "")
    read = _BLOCKS.get(kind)
    if read is not None:
        return read(fields_of(block))
    if kind.endswith("_tool_result"):
        response = {"type": kind, "content": plain(part(block, "content"))}
        identity = part(block, "tool_use_id")
        return {
            "type": "server_tool_call_response",
            "id": identity if isinstance(identity, str) else None,
            "server_tool_call_response": response,
        }
    return _generic(block)


def _refusal(block: Mapping[str, Any]) -> Part:
    return {"type": "refusal", "content": str(block.get("refusal") or "")}


def _thinking(block: Mapping[str, Any]) -> Part:
    return {"type": "reasoning", "content": str(block.get("thinking") or "")}


def _tool_use(block: Mapping[str, Any]) -> Part:
    return tool_call_part(block.get("id"), block.get("name"), block.get("input"))


def _tool_result(block: Mapping[str, Any]) -> Part:
    return _response(block.get("tool_use_id"), block.get("content"))


def _server_tool_use(block: Mapping[str, Any]) -> Part:
    name = str(block.get("name") or "")
    details = {"type": name, "input": plain(block.get("input"))}
    return _server_call(block.get("id"), name, details)


def _image(block: Mapping[str, Any]) -> Part:
    """An image of any API: Anthropic's source, a URL, or a file's id."""
    if source := block.get("source"):
        return _source(source, "image")
    url = block.get("image_url")
    return _attachment("image", url if isinstance(url, str) else text(url, "url"), block)


def _document(block: Mapping[str, Any]) -> Part:
    return _source(block.get("source"), "document")


def _file(block: Mapping[str, Any]) -> Part:
    fields = fields_of(block.get("file") or block)
    return _attachment("document", fields.get("file_data") or fields.get("file_url"), fields)


def _audio(block: Mapping[str, Any]) -> Part:
    sound = fields_of(block.get("input_audio"))
    mime_type = f"audio/{sound.get('format')}" if sound.get("format") else None
    return _blob("audio", sound.get("data"), mime_type)


_BLOCKS: Final[Mapping[str, Callable[[Mapping[str, Any]], Part]]] = {
    "refusal": _refusal,
    "thinking": _thinking,
    "tool_use": _tool_use,
    "tool_result": _tool_result,
    "server_tool_use": _server_tool_use,
    "image": _image,
    "image_url": _image,
    "input_image": _image,
    "document": _document,
    "file": _file,
    "input_file": _file,
    "input_audio": _audio,
}


def _source(source: object, modality: str) -> Part:
    """Anthropic's source of an image or a document."""
    fields = fields_of(source)
    kind = fields.get("type")
    if kind == "base64":
        return _blob(modality, fields.get("data"), fields.get("media_type"))
    if kind == "text":
        return text_part(str(fields.get("data") or ""))
    return _attachment(modality, fields.get("url"), fields)


def _attachment(modality: str, url: object, fields: Mapping[str, Any]) -> Part:
    """A URL, the data in it, or the id of a file."""
    if isinstance(url, str) and url:
        if not url.startswith("data:"):
            is_data = "file_data" in fields
            return _blob(modality, url, None) if is_data else _reference(modality, "uri", url)
        mime_type, _, data = url.removeprefix("data:").partition(",")
        return _blob(modality, data, mime_type.partition(";")[0] or None)
    return _reference(modality, "file_id", str(fields.get("file_id") or ""))


def _reference(modality: str, field: str, value: str) -> Part:
    kind = "uri" if field == "uri" else "file"
    return {"type": kind, "modality": modality, field: value}


def _blob(modality: str, data: object, mime_type: object) -> Part:
    """Data that was sent inline; a file object of the app's is not read."""
    content = data if isinstance(data, str) else f"<{type(data).__name__}>"
    known = {"mime_type": mime_type} if isinstance(mime_type, str) else {}
    return {"type": "blob", "modality": modality, **known, "content": content}


def _spoken(audio: object) -> list[Part]:
    """The sound of an answer; a request names an earlier one by its id."""
    transcript = {"transcript": said} if (said := text(audio, "transcript")) else {}
    if data := text(audio, "data"):
        return [{**_blob("audio", data, None), **transcript}]
    return [_reference("audio", "file_id", text(audio, "id") or "") | transcript]


def _tool_call(call: object) -> Part:
    function = part(call, "function") or part(call, "custom")
    arguments = part(function, "arguments") or part(function, "input")
    return _named_call(part(call, "id"), function, arguments)


def _named_call(identity: object, function: object, arguments: object) -> Part:
    return tool_call_part(identity, part(function, "name"), arguments)


def _response(identity: object, response: object) -> Part:
    """The result of a tool call; a list of text blocks becomes parts."""
    result: object = response
    if isinstance(response, (list, tuple)):
        # A result inside a result is of no API, and may be nested without end.
        blocks = cast("Sequence[object]", response)
        result = [b if part(b, "type") == "tool_result" else _block_part(b) for b in blocks]
    return {
        "type": "tool_call_response",
        "id": identity if isinstance(identity, str) else None,
        "response": plain(result),
    }


def _server_call(identity: object, name: str, details: Part) -> Part:
    return {
        "type": "server_tool_call",
        "id": identity if isinstance(identity, str) else None,
        "name": name,
        "server_tool_call": details,
    }


def _generic(value: object) -> Part:
    """A part of a type that the conventions do not have, as the provider sent it."""
    sent = plain(value)
    if not isinstance(sent, dict):
        return {"type": "unknown", "content": sent}
    fields = cast("Part", sent)
    return fields if isinstance(fields.get("type"), str) else {**fields, "type": "unknown"}


def _items(value: object) -> Sequence[object]:
    return cast("Sequence[object]", value) if isinstance(value, (list, tuple)) else ()


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float))


def plain(value: object, depth: int = 0) -> object:
    """A value as JSON can hold it, without consuming anything that can be read only once."""
    if value is None or isinstance(value, (str, int, float)):
        return value
    if depth < _MAX_DEPTH:
        if isinstance(value, (list, tuple)):
            items = cast("Sequence[object]", value)
            return [plain(item, depth + 1) for item in items]
        source: Any = value
        sent: Any = getattr(source, "__pydantic_fields_set__", None)
        if sent is not None or type(source) is dict:
            fields = fields_of(source)
            sent = fields if sent is None else sent
            return {str(name): plain(fields[name], depth + 1) for name in fields if name in sent}
    return f"<{type(value).__name__}>"
