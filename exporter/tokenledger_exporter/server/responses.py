"""What a sender is told, over HTTP and gRPC alike.

What became of its spans, or why nothing did and when to try again. OTLP specification 1.9, "Full
success", "Partial success", "Failures" and "Throttling" (read 2026-11-26): 429 and 503 are sent
again after Retry-After, everything else in the 400s never.
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

FULL_SECONDS: Final = 1
"""When a sender may try again that met a full queue."""

AWAY_SECONDS: Final = 5
"""When one may that met a database that took nothing."""

# gRPC's codes (grpc/status.h, unchanged since 1.0) for the statuses given here.
_CODES: Final = {400: 3, 401: 16, 404: 12, 405: 12, 413: 3, 415: 3, 421: 3, 429: 8, 503: 14}

_MAX_REASONS: Final = 64
_MAX_LISTED: Final = 16
_LONGEST_REASON: Final = 200
_OTHER: Final = "for other reasons"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request was not taken.

    Args:
        status: the HTTP status.
        reason: one sentence for whoever runs the sender.
        retry_seconds: when sending it again makes sense; 0 for never.
    """

    status: int
    reason: str
    retry_seconds: int = 0

    @property
    def code(self) -> int:
        """The gRPC code."""
        return _CODES[self.status]

    def body(self, content_type: bytes) -> bytes:
        """The error as OTLP has it: a google.rpc.Status."""
        if content_type == JSON:
            return json.dumps({"code": self.code, "message": self.reason}).encode()
        return Status(code=self.code, message=self.reason).SerializeToString()


class RefusedError(Exception):
    """Ends the way of a request that is not taken.

    Args:
        refusal: what its sender is told.
    """

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.reason)
        self.refusal: Final = refusal


def counted(every: Counter[str], more: Mapping[str, int]) -> None:
    """Add counts by reason; a reason may quote what was sent, so only so many are kept apart."""
    for reason, number in more.items():
        known = reason in every or len(every) < _MAX_REASONS
        every[reason[:_LONGEST_REASON] if known else _OTHER] += number


def success(signal: str, content_type: bytes, set_aside: Mapping[str, int]) -> bytes:
    """The answer to a request that was taken.

    Args:
        signal: `traces` or `logs`.
        content_type: of the request.
        set_aside: why some were not stored -> how many.
    """
    count = sum(set_aside.values())
    reasons = list(set_aside.items())
    parts = [f"{number}: {reason[:_LONGEST_REASON]}" for reason, number in reasons[:_MAX_LISTED]]
    if others := sum(number for _, number in reasons[_MAX_LISTED:]):
        parts.append(f"{others}: {_OTHER}")
    told = "; ".join(parts)
    if content_type == JSON:
        name = "rejectedSpans" if signal == "traces" else "rejectedLogRecords"
        partial = {name: str(count), "errorMessage": told}
        return json.dumps({"partialSuccess": partial} if count else {}).encode()
    if not count:
        return b""
    if signal == "traces":
        spans = ExportTracePartialSuccess(rejected_spans=count, error_message=told)
        return ExportTraceServiceResponse(partial_success=spans).SerializeToString()
    logs = ExportLogsPartialSuccess(rejected_log_records=count, error_message=told)
    return ExportLogsServiceResponse(partial_success=logs).SerializeToString()
