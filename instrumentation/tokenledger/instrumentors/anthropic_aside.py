"""Results of Anthropic's message batches: every one is a call of its own.

It was made when the batch was, and its identity is the provider's, so that it is one row however
often and by whomever the results are read. The SDK fetches the batch before its results, which
tells when that was.
"""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from tokenledger.failures import Guard
from tokenledger.instrumentors.anthropic_usage import read_message
from tokenledger.instrumentors.batch_times import BatchTimes
from tokenledger.instrumentors.body import Lines, is_async_body, told_by
from tokenledger.instrumentors.body_passing import watch_bytes
from tokenledger.instrumentors.overhearing import overhear
from tokenledger.precedence import keyword_layer
from tokenledger.reading import fields_of, parts, read_json
from tokenledger_semconv import attributes as names

if TYPE_CHECKING:
    from collections.abc import Callable

    from tokenledger.instrumentors.endpoint import Endpoint
    from tokenledger.reading import Found
    from tokenledger.tracing import CallTracer

_BATCHES: Final = "/v1/messages/batches"
_RESULTS: Final = "/results"
_NANOSECONDS: Final = 1_000_000_000
_BATCH_TIER: Final = "batch"


_TIMES: Final = BatchTimes()


def read_aside(
    tracer: CallTracer,
    endpoint: Callable[[], Endpoint],
    options: Any,  # noqa: ANN401 - of any release of the SDK
    answer: Any,  # noqa: ANN401
) -> None:
    """Read what an answer tells of calls made earlier."""
    path = options.url.partition("?")[0]
    _, found, rest = path.partition(_BATCHES)
    if not found:
        return
    if rest.endswith(_RESULTS):
        batch = rest[1 : -len(_RESULTS)]
        book = partial(_book, tracer, endpoint(), batch, _TIMES.of(batch))
        if not overhear(answer, book):
            _watch_body(answer, book)
        return
    told = told_by(answer)
    for batch in (told, *parts(told, "data")):
        _note_batch(batch)


def _note_batch(batch: object) -> None:
    told = fields_of(batch)
    identity, created = told.get("id"), told.get("created_at")
    if isinstance(created, str):
        # Until Python 3.11 `fromisoformat` does not know the Z.
        created = datetime.fromisoformat(created.replace("Z", "+00:00"))
    if isinstance(identity, str) and isinstance(created, datetime):
        _TIMES.note(identity, int(created.timestamp()) * _NANOSECONDS)


def _watch_body(answer: Any, book: Callable[[object], None]) -> None:  # noqa: ANN401
    """Results that the app reads off the bare response."""

    def take(line: bytes) -> bool:
        result = read_json(line)
        if result is not None:
            book(result)
        return result is not None

    response = getattr(answer, "http_response", None)
    if response is not None:
        watch_bytes(response, Lines(take), is_async=is_async_body(response))


def _book(
    tracer: CallTracer, endpoint: Endpoint, batch: str, created: int | None, result: object
) -> None:
    with Guard("reading a batch result"):
        told = fields_of(result)
        outcome = fields_of(told.get("result"))
        if outcome.get("type") != "succeeded":
            return
        found = read_message(outcome.get("message"))
        found[names.ANTHROPIC_SERVICE_TIER] = _BATCH_TIER
        custom_id = told.get("custom_id")
        request: Found = {
            **endpoint.told,
            names.OPERATION_NAME: "chat",
            names.REQUEST_MODEL: str(found.get(names.RESPONSE_MODEL, "")),
            names.CALL_ID: f"anthropic.batch:{batch}:{custom_id}",
        }
        if created is not None:
            request[names.CALL_STARTED_NS] = created
        # Given by the app for this one call, like the keywords of `attribution`.
        given = keyword_layer({"batch_custom_id": custom_id})
        tracer.book(request, found, per_call=given)
