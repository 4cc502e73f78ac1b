"""The request handling that HTTP and gRPC share: identify the sender, decode, store.

The memory of all bodies that are being read or decoded is limited, and large bodies are decoded one
at a time in a separate thread, so that one sender cannot block the others or exhaust the memory.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from tokenledger_exporter.server.decoding.agent_logs import decode_json_logs, decode_logs
from tokenledger_exporter.server.decoding.decoded_request import MalformedError, TooLargeError
from tokenledger_exporter.server.decoding.otlp_json import decode_json_traces
from tokenledger_exporter.server.decoding.otlp_protobuf import decode_traces
from tokenledger_exporter.server.ingest.bounds import RequestBounds, bytes_of
from tokenledger_exporter.server.ingest.fair_share import Budget
from tokenledger_exporter.server.ingest.queue import QueueFullError, UnavailableError
from tokenledger_exporter.server.responses import (
    FULL_RETRY_SECONDS,
    JSON,
    UNAVAILABLE_RETRY_SECONDS,
    Refusal,
    RefusedError,
    add_counts,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence

    from tokenledger_exporter.access.tokens import Tokens
    from tokenledger_exporter.domain.span_record import SpoolHeader
    from tokenledger_exporter.server.decoding.decoded_request import DecodedRequest
    from tokenledger_exporter.server.decoding.decompress import Inflater
    from tokenledger_exporter.server.ingest.queue import IngestQueue

REQUEST_SECONDS: Final = 8.0
"""How long a request may take to arrive, from its first byte to its last."""

_UNAVAILABLE: Final = "the database is not accepting rows right now"
_MAX_INLINE_BYTES: Final = 131_072
_MAX_REQUESTS: Final = 1_024
_MAX_HEADERS: Final = 4_096

_DECODERS: Final[Mapping[tuple[str, bool], Callable[[bytes], DecodedRequest]]] = {
    ("traces", False): decode_traces,
    ("traces", True): decode_json_traces,
    ("logs", False): decode_logs,
    ("logs", True): decode_json_logs,
}


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits that the operator sets.

    Args:
        max_body_bytes: maximum size of a body, uncompressed.
        max_age_days: maximum age of a call from a sender that is bound to an organization.
        max_age_days_trusted: maximum age of a call from any other sender.
        certificate_part: the part of a client's certificate that names its organization; "" if
            certificates do not.
    """

    max_body_bytes: int
    max_age_days: int = 30
    max_age_days_trusted: int = 400
    certificate_part: str = ""


UNAUTHORIZED: Final = Refusal(401, "missing or unknown token; send Authorization: Bearer TOKEN")
"""The answer to a request without a valid token."""

UNCERTIFIED: Final = Refusal(
    401, "the client certificate does not belong to the organization of the token"
)
"""The answer to a certificate that names no organization, or not that of the token."""

FULL: Final = Refusal(429, "the service is busy; retry later", FULL_RETRY_SECONDS)
"""The answer while too many requests wait."""


class Service:
    """The request handling of one worker.

    Args:
        queue: writes the decoded records.
        tokens: the valid tokens; without tokens, every sender is allowed.
        header: the header of records without an organization.
        limits: the limits of a request, and how a certificate names an organization.
    """

    def __init__(
        self, queue: IngestQueue, tokens: Tokens, header: SpoolHeader, limits: Limits
    ) -> None:
        self.queue: Final = queue
        self.limits: Final = limits
        self.max_body_bytes: Final = limits.max_body_bytes
        self._tokens: Final = tokens
        self._header: Final = header
        self._headers: Final[dict[tuple[str, bool], SpoolHeader]] = {("", False): header}
        self._requests: Final = Budget(_MAX_REQUESTS, is_shared=self.has_senders)
        self._decoder: Final = ThreadPoolExecutor(1, "tokenledger-decode")

    @property
    def has_senders(self) -> bool:
        """Whether tokens or certificates distinguish the senders."""
        return bool(self._tokens) or bool(self.limits.certificate_part)

    def identify(
        self, authorizations: Sequence[str], certificate_organization: str | None
    ) -> SpoolHeader:
        """The record header for a sender, by its token and its certificate.

        Args:
            authorizations: all Authorization headers of the request.
            certificate_organization: the organization in the certificate; `None` if it names none.

        Raises:
            RefusedError: the token or the certificate is not valid.
        """
        if len(authorizations) > 1:
            raise RefusedError(
                Refusal(400, "the request has several Authorization headers; send one")
            )
        organization, is_trusted = "", False
        if self._tokens:
            bearer = self._tokens.bearer_of("".join(authorizations))
            if bearer is None:
                raise RefusedError(UNAUTHORIZED)
            organization, is_trusted = bearer.organization, bearer.is_trusted
        if self.limits.certificate_part:
            if certificate_organization is None or organization not in {
                "",
                certificate_organization,
            }:
                raise RefusedError(UNCERTIFIED)
            organization = certificate_organization
        header = self._headers.get((organization, is_trusted))
        if header is None:
            if len(self._headers) >= _MAX_HEADERS:
                self._headers.clear()
            header = replace(self._header, organization=organization, is_trusted=is_trusted)
            self._headers[organization, is_trusted] = header
        return header

    @contextmanager
    def admitted(self, sender: str) -> Generator[None]:
        """Admit a request while the block runs; call it before reading the body.

        Raises:
            RefusedError: the queue is full, or the sender has used its share.
        """
        queue = self.queue
        if queue.is_full or not queue.has_room(sender) or queue.meter.is_over(sender):
            raise RefusedError(FULL)
        if not self._requests.acquire(sender, 1):
            raise RefusedError(FULL)
        try:
            yield
        finally:
            self._requests.release(sender, 1)

    def is_operator(
        self, authorizations: Sequence[str], certificate_organization: str | None
    ) -> bool:
        """Whether the client may see the counters and the errors of the database."""
        if not self.has_senders:
            return True
        try:
            return self.identify(authorizations, certificate_organization).organization == ""
        except RefusedError:
            return False

    def reserve_memory(self, sender: str, size: int) -> None:
        """Reserve bytes for bodies or, if negative, release them.

        Raises:
            RefusedError: the sender has no room left.
        """
        if size <= 0:
            self.queue.memory.release(sender, -size)
        elif not self.queue.memory.acquire(sender, size):
            raise RefusedError(FULL)

    def decompress(self, inflater: Inflater, data: bytes, sender: str) -> int:
        """Add the next chunk of a body; returns by how many bytes the body grew.

        Raises:
            RefusedError: the sender causes too much work.
            TooLargeError, MalformedError: as `Inflater.feed`.
        """
        size_before, started = inflater.size, time.thread_time()
        inflater.feed(data)
        self.queue.meter.charge(sender, time.thread_time() - started)
        self._check_work(inflater.size, sender)
        return inflater.size - size_before

    async def decode(
        self, signal: str, content_type: bytes, body: bytes, sender: str
    ) -> DecodedRequest:
        """Decode a request's body.

        Raises:
            RefusedError: the body is malformed or too large.
        """
        decode = _DECODERS[signal, content_type == JSON]
        try:
            if len(body) <= _MAX_INLINE_BYTES:
                return self._decode_now(decode, body, sender)
            loop = asyncio.get_running_loop()
            # Bodies from its other connections may have been decoded in the meantime.
            self._check_work(len(body), sender)
            return await loop.run_in_executor(self._decoder, self._decode_now, decode, body, sender)
        except MalformedError as error:
            raise RefusedError(Refusal(400, str(error))) from None
        except TooLargeError as error:
            raise RefusedError(Refusal(413, str(error))) from None

    async def store(self, decoded: DecodedRequest, header: SpoolHeader) -> Counter[str]:
        """Store the calls of a request in the ledger.

        Returns:
            The number of quarantined spans by reason, after all others were committed.

        Raises:
            RefusedError: the request was not stored, or not completely.
        """
        quarantined: Counter[str] = Counter()
        organization = header.organization
        limits = self.limits
        max_age_days = limits.max_age_days if organization else limits.max_age_days_trusted
        if decoded.records:
            try:
                quarantined = await self.queue.commit(
                    decoded.records, header, decoded.size, RequestBounds(max_age_days)
                )
            except QueueFullError:
                raise RefusedError(FULL) from None
            except UnavailableError as error:
                # The error may name the database host, which only the operator's log should show.
                detail = _UNAVAILABLE if self.has_senders else str(error)
                reason = f"nothing was stored: {detail}; retry later"
                raise RefusedError(Refusal(503, reason, UNAVAILABLE_RETRY_SECONDS)) from None
        stats = self.queue.stats
        stats.received += len(decoded.records) + decoded.quarantined.total()
        stats.dropped += decoded.dropped
        add_counts(stats.quarantined, decoded.quarantined)
        self.queue.count_lost(decoded.quarantined, organization)
        return quarantined + decoded.quarantined

    def close(self) -> None:
        """Stop the decoding thread."""
        self._decoder.shutdown(wait=False)

    def _check_work(self, size: int, sender: str) -> None:
        if size > _MAX_INLINE_BYTES and self.queue.meter.is_over(sender):
            raise RefusedError(FULL)

    def _decode_now(
        self, decode: Callable[[bytes], DecodedRequest], body: bytes, sender: str
    ) -> DecodedRequest:
        started = time.thread_time()
        try:
            # The sender may have caused more work while this body waited for the thread.
            self._check_work(len(body), sender)
            decoded = decode(body)
            decoded.size = bytes_of(decoded.records, len(body))
        finally:
            self.queue.meter.charge(sender, time.thread_time() - started)
        return decoded
