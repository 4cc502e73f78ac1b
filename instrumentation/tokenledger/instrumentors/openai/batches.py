"""Answers of OpenAI that report calls made earlier: batch results and fetched responses.

A batch runs for hours, and only its results file holds what it cost. Each line of it is a call of
its own, made at the time the line gives, or else when the batch was created. Its identity is the
provider's, so it is one row however often the file is read, and by any process. The same holds for
a background response, whose first answer has no token counts.
"""

from __future__ import annotations

import io
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from tokenledger._attribution.layers import clean, keyword_layer
from tokenledger._guard import Guard
from tokenledger._usage.fields import epoch_nanoseconds, fields_of, parts, read_json, text
from tokenledger._usage.openai import (
    RESPONSE_ENDINGS,
    read_chat,
    read_images,
    read_response,
    read_retrieved,
    read_usage,
)
from tokenledger.instrumentors._base.batch_times import BatchTimes
from tokenledger.instrumentors._base.byte_tap import watch_bytes
from tokenledger.instrumentors._base.http_body import Lines, answer_content, is_async_body
from tokenledger.instrumentors._stainless.iterator_tap import tap_iterator
from tokenledger_semconv import attributes as names

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tokenledger._calls.tracer import CallTracer
    from tokenledger._usage.fields import Attributes
    from tokenledger.instrumentors._base.endpoints import Endpoint

BATCH_TIER: Final = "batch"
"""The price book's name for the tier of batch results."""

_NANOSECONDS: Final = 1_000_000_000
_BATCHES: Final = "/batches"
_FILES: Final = "/files/"
_CONTENT: Final = "/content"
_RESPONSES: Final = "/responses/"
_CANCEL: Final = "/cancel"
_OBJECT: Final = "{"
# `object` of a result's body -> (operation, reader of the body).
_RESULTS: Final[Mapping[str, tuple[str, Callable[[object], Attributes]]]] = {
    "chat.completion": ("chat", read_chat),
    "response": ("chat", read_response),
    "text_completion": ("text_completion", read_chat),
    "list": ("embeddings", read_usage),
}
# The body of an image result names neither its kind nor its model; the batch names the model.
_IMAGES: Final = ("image_generation", read_images)
_BATCH_TIMES: Final = BatchTimes()


def read_other_answer(
    tracer: CallTracer,
    endpoint: Callable[[], Endpoint],
    options: Any,  # noqa: ANN401 - of any release of the SDK
    answer: Any,  # noqa: ANN401
) -> None:
    """Record the earlier calls that an answer reports."""
    path = options.url.partition("?")[0]
    is_get = options.method.lower() == "get"
    if path.startswith(_BATCHES):
        content = answer_content(answer)
        for batch in (content, *parts(content, "data")):
            _note_batch(batch)
    elif is_get and path.startswith(_FILES) and path.endswith(_CONTENT):
        file = path[len(_FILES) : -len(_CONTENT)]
        _read_file(answer, partial(_record_line, tracer, endpoint(), file))
    elif path.startswith(_RESPONSES):
        identity = path[len(_RESPONSES) :]
        if "/" not in (identity if is_get else identity.removesuffix(_CANCEL)):
            _read_response(tracer, endpoint(), answer)


def _note_batch(batch: object) -> None:
    fields = fields_of(batch)
    file = fields.get("output_file_id")
    created_ns = epoch_nanoseconds(fields.get("created_at"))
    if isinstance(file, str) and created_ns is not None:
        _BATCH_TIMES.note(file, _whole_seconds(created_ns), text(fields, "model") or "")


def _whole_seconds(nanoseconds: int) -> int:
    return nanoseconds // _NANOSECONDS * _NANOSECONDS


def _read_response(tracer: CallTracer, endpoint: Endpoint, answer: object) -> None:
    def observe(event: object) -> None:
        fields = fields_of(event)
        if fields.get("type") in RESPONSE_ENDINGS:
            with Guard("reading a fetched response"):
                _record_response(tracer, endpoint, fields.get("response"))

    if not tap_iterator(answer, observe):
        _record_response(tracer, endpoint, answer_content(answer))


def _record_response(tracer: CallTracer, endpoint: Endpoint, response: object) -> None:
    """Record a background response that is done."""
    attributes = read_retrieved(response)
    if attributes is not None:
        start: Attributes = {
            **endpoint.attributes,
            names.OPERATION_NAME: "chat",
            names.OPENAI_API_TYPE: "responses",
            names.REQUEST_MODEL: attributes.get(names.RESPONSE_MODEL, ""),
        }
        tracer.record(start, attributes)


def _read_file(answer: Any, record: Callable[[bytes], bool]) -> None:  # noqa: ANN401
    if isinstance(answer, str):
        if answer.startswith(_OBJECT):
            _record_all(answer.encode(), record)
        return
    response = getattr(answer, "http_response", None) or getattr(answer, "response", None)
    if response is None:
        return
    if response.is_closed:
        _record_all(response.content, record)
    else:
        watch_bytes(response, Lines(record), is_async=is_async_body(response))


def _record_all(content: bytes, record: Callable[[bytes], bool]) -> None:
    # Line by line: most files are of another kind, and some of them are large.
    for line in io.BytesIO(content):
        if not line.isspace() and not record(line):
            return


def _identity(result: Mapping[str, Any], body: Mapping[str, Any]) -> str:
    """Azure's lines have no id of their own; the answer in them has one."""
    response = fields_of(result["response"])
    return str(
        result.get("id") or body.get("id") or f"{response.get('request_id')}:{result['custom_id']}"
    )


def _reader(body: Mapping[str, Any]) -> tuple[str, Callable[[object], Attributes]] | None:
    """The operation of a result and its reader; `None` if a model did not answer it."""
    if "object" not in body and isinstance(body.get("data"), list):
        return _IMAGES
    return _RESULTS.get(body.get("object", ""))


def _record_line(tracer: CallTracer, endpoint: Endpoint, file: str, line: bytes) -> bool:
    """Record one line of a results file; False if the file is of another kind."""
    created_ns = _BATCH_TIMES.of(file)
    with Guard("reading a batch result"):
        result = fields_of(read_json(line))
        if "custom_id" not in result or "response" not in result:
            return False
        body = fields_of(fields_of(result["response"]).get("body"))
        known = _reader(body)
        if known is not None and (body.get("usage") or body.get("svg_usage")):
            operation, read = known
            attributes = read(body)
            attributes[names.OPENAI_SERVICE_TIER] = BATCH_TIER
            start: Attributes = {
                **endpoint.attributes,
                names.OPERATION_NAME: operation,
                names.REQUEST_MODEL: clean(body.get("model") or _BATCH_TIMES.model_of(file)),
                names.CALL_ID: f"openai.batch:{_identity(result, body)}",
            }
            # The line's own time wins: it is the same for a reader that never saw the batch.
            line_ns = epoch_nanoseconds(body.get("created") or body.get("created_at"))
            if line_ns is not None:
                created_ns = _whole_seconds(line_ns)
            if created_ns is not None:
                start[names.CALL_STARTED_NS] = created_ns
            # The app gave it to this one call, like the keywords of `attribution`.
            per_call = keyword_layer({"batch_custom_id": result["custom_id"]})
            tracer.record(start, attributes, per_call=per_call)
        return True
    return True
