"""Answers of OpenAI that are no model call but tell of one: batch results, fetched responses.

A batch runs for hours, and what it cost stands in its results file alone. Each line of it is a call
of its own, made when the line says, else when the batch was; its identity is the provider's, so
that it is one row however often and by whomever the file is read. So is a background response,
whose first answer tells no counts.
"""

from __future__ import annotations

import io
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from tokenledger.failures import Guard
from tokenledger.instrumentors.batch_times import BatchTimes
from tokenledger.instrumentors.body import Lines, is_async_body, told_by
from tokenledger.instrumentors.body_passing import watch_bytes
from tokenledger.instrumentors.openai_usage import (
    RESPONSE_ENDINGS,
    read_chat,
    read_images,
    read_response,
    read_retrieved,
    read_usage,
)
from tokenledger.instrumentors.overhearing import overhear
from tokenledger.precedence import clean, keyword_layer
from tokenledger.reading import epoch_nanoseconds, fields_of, parts, read_json, text
from tokenledger_semconv import attributes as names

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tokenledger.instrumentors.endpoint import Endpoint
    from tokenledger.reading import Found
    from tokenledger.tracing import CallTracer

BATCH_TIER: Final = "batch"
"""What the price book calls the tier of batch results."""

_NANOSECONDS: Final = 1_000_000_000
_BATCHES: Final = "/batches"
_FILES: Final = "/files/"
_CONTENT: Final = "/content"
_RESPONSES: Final = "/responses/"
_CANCEL: Final = "/cancel"
_OBJECT: Final = "{"
# `object` of a result's body -> (operation, what reads it).
_RESULTS: Final[Mapping[str, tuple[str, Callable[[object], Found]]]] = {
    "chat.completion": ("chat", read_chat),
    "response": ("chat", read_response),
    "text_completion": ("text_completion", read_chat),
    "list": ("embeddings", read_usage),
}
# Of images, the body names neither what it is nor its model; the batch names the model.
_IMAGES: Final = ("image_generation", read_images)
_TIMES: Final = BatchTimes()


def read_aside(
    tracer: CallTracer,
    endpoint: Callable[[], Endpoint],
    options: Any,  # noqa: ANN401 - of any release of the SDK
    answer: Any,  # noqa: ANN401
) -> None:
    """Read what an answer tells of calls made earlier."""
    path = options.url.partition("?")[0]
    gets = options.method.lower() == "get"
    if path.startswith(_BATCHES):
        told = told_by(answer)
        for batch in (told, *parts(told, "data")):
            _note_batch(batch)
    elif gets and path.startswith(_FILES) and path.endswith(_CONTENT):
        file = path[len(_FILES) : -len(_CONTENT)]
        _read_file(answer, partial(_book_line, tracer, endpoint(), file))
    elif path.startswith(_RESPONSES):
        identity = path[len(_RESPONSES) :]
        if "/" not in (identity if gets else identity.removesuffix(_CANCEL)):
            _read_response(tracer, endpoint(), answer)


def _note_batch(batch: object) -> None:
    told = fields_of(batch)
    file, created = told.get("output_file_id"), told.get("created_at")
    created_ns = epoch_nanoseconds(created)
    if isinstance(file, str) and created_ns is not None:
        made_ns = created_ns // _NANOSECONDS * _NANOSECONDS
        _TIMES.note(file, made_ns, text(told, "model") or "")


def _read_response(tracer: CallTracer, endpoint: Endpoint, answer: object) -> None:
    def hear(event: object) -> None:
        told = fields_of(event)
        if told.get("type") in RESPONSE_ENDINGS:
            with Guard("reading a fetched response"):
                _book_response(tracer, endpoint, told.get("response"))

    if not overhear(answer, hear):
        _book_response(tracer, endpoint, told_by(answer))


def _book_response(tracer: CallTracer, endpoint: Endpoint, response: object) -> None:
    """A background response, once it is done."""
    found = read_retrieved(response)
    if found is not None:
        told = {
            **endpoint.told,
            names.OPERATION_NAME: "chat",
            names.OPENAI_API_TYPE: "responses",
            names.REQUEST_MODEL: found.get(names.RESPONSE_MODEL, ""),
        }
        tracer.book(told, found)


def _read_file(answer: Any, book: Callable[[bytes], bool]) -> None:  # noqa: ANN401
    if isinstance(answer, str):
        if answer.startswith(_OBJECT):
            _book_all(answer.encode(), book)
        return
    response = getattr(answer, "http_response", None) or getattr(answer, "response", None)
    if response is None:
        return
    if response.is_closed:
        _book_all(response.content, book)
    else:
        watch_bytes(response, Lines(book), is_async=is_async_body(response))


def _book_all(content: bytes, book: Callable[[bytes], bool]) -> None:
    # Line by line: most files are something else, and some of them are large.
    for line in io.BytesIO(content):
        if not line.isspace() and not book(line):
            return


def _identity(result: Mapping[str, Any], body: Mapping[str, Any]) -> str:
    """Azure's lines have no id of their own; the answer in them has."""
    told = fields_of(result["response"])
    return str(
        result.get("id") or body.get("id") or f"{told.get('request_id')}:{result['custom_id']}"
    )


def _reader(body: Mapping[str, Any]) -> tuple[str, Callable[[object], Found]] | None:
    """What a result is and how it is read; `None` for what is no model's answer."""
    if "object" not in body and isinstance(body.get("data"), list):
        return _IMAGES
    return _RESULTS.get(body.get("object", ""))


def _book_line(tracer: CallTracer, endpoint: Endpoint, file: str, line: bytes) -> bool:
    """Book one line of a results file; False if the file is something else."""
    made_ns = _TIMES.of(file)
    with Guard("reading a batch result"):
        result = fields_of(read_json(line))
        if "custom_id" not in result or "response" not in result:
            return False
        body = fields_of(fields_of(result["response"]).get("body"))
        known = _reader(body)
        if known is not None and (body.get("usage") or body.get("svg_usage")):
            operation, read = known
            found = read(body)
            found[names.OPENAI_SERVICE_TIER] = BATCH_TIER
            request: Found = {
                **endpoint.told,
                names.OPERATION_NAME: operation,
                names.REQUEST_MODEL: clean(body.get("model") or _TIMES.model_of(file)),
                names.CALL_ID: f"openai.batch:{_identity(result, body)}",
            }
            # The line's own time first: it is the same for a reader who never saw the batch.
            made = body.get("created") or body.get("created_at")
            if (told_ns := epoch_nanoseconds(made)) is not None:
                made_ns = told_ns // _NANOSECONDS * _NANOSECONDS
            if made_ns is not None:
                request[names.CALL_STARTED_NS] = made_ns
            # Given by the app for this one call, like the keywords of `attribution`.
            given = keyword_layer({"batch_custom_id": result["custom_id"]})
            tracer.book(request, found, per_call=given)
        return True
    return True
