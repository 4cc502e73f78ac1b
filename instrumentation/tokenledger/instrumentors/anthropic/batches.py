"""Results of Anthropic's message batches: each of them is a call of its own.

The call was made when the batch was created. Its identity is the provider's, so it is one row
however often the results are read, and by any process. The SDK fetches the batch before its
results, which gives the time of its creation.
"""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from tokenledger._attribution.layers import keyword_layer
from tokenledger._guard import Guard
from tokenledger._usage.anthropic import read_message
from tokenledger._usage.fields import fields_of, parts, read_json
from tokenledger.instrumentors._base.batch_times import BatchTimes
from tokenledger.instrumentors._base.byte_tap import watch_bytes
from tokenledger.instrumentors._base.http_body import Lines, answer_content, is_async_body
from tokenledger.instrumentors._stainless.iterator_tap import tap_iterator
from tokenledger_semconv import attributes as names

if TYPE_CHECKING:
    from collections.abc import Callable

    from tokenledger._calls.tracer import CallTracer
    from tokenledger._usage.fields import Attributes
    from tokenledger.instrumentors._base.endpoints import Endpoint

_BATCHES: Final = "/v1/messages/batches"
_RESULTS: Final = "/results"
_NANOSECONDS: Final = 1_000_000_000
_BATCH_TIER: Final = "batch"


_BATCH_TIMES: Final = BatchTimes()


def read_other_answer(
    tracer: CallTracer,
    endpoint: Callable[[], Endpoint],
    options: Any,  # noqa: ANN401 - of any release of the SDK
    answer: Any,  # noqa: ANN401
) -> None:
    """Record the earlier calls that an answer reports."""
    path = options.url.partition("?")[0]
    _, separator, rest = path.partition(_BATCHES)
    if not separator:
        return
    if rest.endswith(_RESULTS):
        batch = rest[1 : -len(_RESULTS)]
        record = partial(_record, tracer, endpoint(), batch, _BATCH_TIMES.of(batch))
        if not tap_iterator(answer, record):
            _watch_body(answer, record)
        return
    content = answer_content(answer)
    for batch in (content, *parts(content, "data")):
        _note_batch(batch)


def _note_batch(batch: object) -> None:
    fields = fields_of(batch)
    identity, created = fields.get("id"), fields.get("created_at")
    if isinstance(created, str):
        # Before Python 3.11 `fromisoformat` does not accept the Z.
        created = datetime.fromisoformat(created.replace("Z", "+00:00"))
    if isinstance(identity, str) and isinstance(created, datetime):
        _BATCH_TIMES.note(identity, int(created.timestamp()) * _NANOSECONDS)


def _watch_body(answer: Any, record: Callable[[object], None]) -> None:  # noqa: ANN401
    """Record results that the app reads from the bare response."""

    def take(line: bytes) -> bool:
        result = read_json(line)
        if result is not None:
            record(result)
        return result is not None

    response = getattr(answer, "http_response", None)
    if response is not None:
        watch_bytes(response, Lines(take), is_async=is_async_body(response))


def _record(
    tracer: CallTracer, endpoint: Endpoint, batch: str, created_ns: int | None, result: object
) -> None:
    with Guard("reading a batch result"):
        fields = fields_of(result)
        outcome = fields_of(fields.get("result"))
        if outcome.get("type") != "succeeded":
            return
        attributes = read_message(outcome.get("message"))
        attributes[names.ANTHROPIC_SERVICE_TIER] = _BATCH_TIER
        custom_id = fields.get("custom_id")
        start: Attributes = {
            **endpoint.attributes,
            names.OPERATION_NAME: "chat",
            names.REQUEST_MODEL: str(attributes.get(names.RESPONSE_MODEL, "")),
            names.CALL_ID: f"anthropic.batch:{batch}:{custom_id}",
        }
        if created_ns is not None:
            start[names.CALL_STARTED_NS] = created_ns
        # The app gave it to this one call, like the keywords of `attribution`.
        per_call = keyword_layer({"batch_custom_id": custom_id})
        tracer.record(start, attributes, per_call=per_call)
