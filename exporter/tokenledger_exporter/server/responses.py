"""The responses to senders, for HTTP and gRPC.

An answer reports the result for the spans, or why the request was refused and when to retry. OTLP
specification 1.9, "Full success", "Partial success", "Failures" and "Throttling" (read 2026-11-26):
clients retry after 429 and 503, with the delay of Retry-After, and after no other 4xx status.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsPartialSuccess,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceResponse,
)

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Mapping

PROTOBUF: Final = b"application/x-protobuf"
JSON: Final = b"application/json"

FULL_RETRY_SECONDS: Final = 1
"""Seconds to wait before a retry while the service is busy."""

UNAVAILABLE_RETRY_SECONDS: Final = 5
"""Seconds to wait before a retry while the database is unavailable."""

# The gRPC codes (grpc/status.h, unchanged since 1.0) of the HTTP statuses used here.
_CODES: Final = {400: 3, 401: 16, 404: 12, 405: 12, 413: 3, 415: 3, 421: 3, 429: 8, 503: 14}

_MAX_REASONS: Final = 64
_MAX_LISTED_REASONS: Final = 16
_MAX_REASON_LENGTH: Final = 200
_OTHER: Final = "for other reasons"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request was refused.

    Args:
        status: the HTTP status.
        reason: a sentence for the person who operates the sender.
        retry_seconds: seconds to wait before a retry; 0 if a retry is useless.
        allowed_method: the method that the path has, of a 405.
    """

    status: int
    reason: str
    retry_seconds: int = 0
    allowed_method: str = "POST"

    @property
    def code(self) -> int:
        """The gRPC code."""
        return _CODES[self.status]

    def body(self, content_type: bytes) -> bytes:
        """The error in OTLP's form, a google.rpc.Status."""
        if content_type == JSON:
            return json.dumps({"code": self.code, "message": self.reason}).encode()
        return Status(code=self.code, message=self.reason).SerializeToString()


class RefusedError(Exception):
    """Ends the handling of a request that is refused.

    Args:
        refusal: the answer to the sender.
    """

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.reason)
        self.refusal: Final = refusal


def add_counts(totals: Counter[str], counts: Mapping[str, int]) -> None:
    """Add counts by reason; reasons may quote the request, so the number of reasons is limited."""
    for reason, number in counts.items():
        is_separate = reason in totals or len(totals) < _MAX_REASONS
        totals[reason[:_MAX_REASON_LENGTH] if is_separate else _OTHER] += number


def success(signal: str, content_type: bytes, quarantined: Mapping[str, int]) -> bytes:
    """The answer to a request that was stored.

    Args:
        signal: `traces` or `logs`.
        content_type: content type of the request.
        quarantined: number of spans that were not stored, by reason.
    """
    count = sum(quarantined.values())
    reasons = list(quarantined.items())
    parts = [
        f"{number}: {reason[:_MAX_REASON_LENGTH]}"
        for reason, number in reasons[:_MAX_LISTED_REASONS]
    ]
    if others := sum(number for _, number in reasons[_MAX_LISTED_REASONS:]):
        parts.append(f"{others}: {_OTHER}")
    message = "; ".join(parts)
    if content_type == JSON:
        name = "rejectedSpans" if signal == "traces" else "rejectedLogRecords"
        partial = {name: str(count), "errorMessage": message}
        return json.dumps({"partialSuccess": partial} if count else {}).encode()
    if not count:
        return b""
    if signal == "traces":
        spans = ExportTracePartialSuccess(rejected_spans=count, error_message=message)
        return ExportTraceServiceResponse(partial_success=spans).SerializeToString()
    logs = ExportLogsPartialSuccess(rejected_log_records=count, error_message=message)
    return ExportLogsServiceResponse(partial_success=logs).SerializeToString()
