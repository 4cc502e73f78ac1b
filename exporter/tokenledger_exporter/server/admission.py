"""What HTTP and gRPC share: from a body and whose it is to the answer.

Bodies that are being read or decoded are bounded together, and large ones are decoded one at a time
in a thread of their own, so that one sender cannot take the others' turn or the machine's memory.
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
from tokenledger_exporter.server.ingest.queue import AwayError, FullError
from tokenledger_exporter.server.ingest.shares import Budget
from tokenledger_exporter.server.responses import (
    AWAY_SECONDS,
    FULL_SECONDS,
    JSON,
    Refusal,
    RefusedError,
    counted,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence

    from tokenledger_exporter.domain.span_record import SpoolHeader
    from tokenledger_exporter.server.auth import Tokens
    from tokenledger_exporter.server.decoding.decoded_request import Received
    from tokenledger_exporter.server.decoding.decompress import Inflater
    from tokenledger_exporter.server.ingest.queue import IngestQueue

REQUEST_SECONDS: Final = 8.0
"""How long a request may take to arrive, from its first byte to its last."""

_AWAY: Final = "the database takes nothing now"
_DECODED_IN_PLACE: Final = 131_072
_MAX_REQUESTS: Final = 1_024
_MAX_HEADERS: Final = 4_096

_DECODERS: Final[Mapping[tuple[str, bool], Callable[[bytes], Received]]] = {
    ("traces", False): decode_traces,
    ("traces", True): decode_json_traces,
    ("logs", False): decode_logs,
    ("logs", True): decode_json_logs,
}


@dataclass(frozen=True, slots=True)
class Limits:
    """What the operator allows.

    Args:
        most_body_bytes: how large a body may be, uncompressed.
        sender_days: how long ago a call of a sender bound to an organization may have begun.
        most_days: how long ago anybody's may.
        certificate_part: which part of a client's certificate is its organization; "" for none.
    """

    most_body_bytes: int
    sender_days: int = 30
    most_days: int = 400
    certificate_part: str = ""


UNAUTHORIZED: Final = Refusal(401, "send a token of this ledger: Authorization: Bearer ...")
"""To who has no token."""

UNCERTIFIED: Final = Refusal(401, "the client certificate is not one of the token's organization")
"""To who has a certificate of nobody, or of somebody else."""

FULL: Final = Refusal(429, "more waits for the database than may: send again", FULL_SECONDS)
"""To who comes when too much waits."""


class Service:
    """One worker's.

    Args:
        intake: where records go.
        tokens: who may send; without any, everybody.
        header: whose the records are.
        limits: how much a request may ask for, and how a certificate names an organization.
    """

    def __init__(
        self, intake: IngestQueue, tokens: Tokens, header: SpoolHeader, limits: Limits
    ) -> None:
        self.intake: Final = intake
        self.limits: Final = limits
        self.most_body_bytes: Final = limits.most_body_bytes
        self._tokens: Final = tokens
        self._header: Final = header
        self._headers: Final[dict[tuple[str, bool], SpoolHeader]] = {("", False): header}
        self._requests: Final = Budget(_MAX_REQUESTS, is_shared=self.has_senders)
        self._decoder: Final = ThreadPoolExecutor(1, "tokenledger-decode")

    @property
    def has_senders(self) -> bool:
        """Whether senders can be told apart."""
        return bool(self._tokens) or bool(self.limits.certificate_part)

    def identify(self, authorizations: Sequence[str], certified: str | None) -> SpoolHeader:
        """Whose a request is, by its token and the client's certificate.

        Args:
            authorizations: every Authorization header it has.
            certified: the organization its certificate names; `None` if it names none.

        Raises:
            RefusedError: it is nobody's.
        """
        if len(authorizations) > 1:
            raise RefusedError(Refusal(400, "send one Authorization header"))
        organization, is_trusted = "", False
        if self._tokens:
            found = self._tokens.bearer_of("".join(authorizations))
            if found is None:
                raise RefusedError(UNAUTHORIZED)
            organization, is_trusted = found.organization, found.is_trusted
        if self.limits.certificate_part:
            if certified is None or organization not in {"", certified}:
                raise RefusedError(UNCERTIFIED)
            organization = certified
        header = self._headers.get((organization, is_trusted))
        if header is None:
            if len(self._headers) >= _MAX_HEADERS:
                self._headers.clear()
            header = replace(self._header, organization=organization, is_trusted=is_trusted)
            self._headers[organization, is_trusted] = header
        return header

    @contextmanager
    def admitted(self, sender: str) -> Generator[None]:
        """Let a sender's request in while the block runs; asked before its body is read.

        Raises:
            RefusedError: nothing of the sender is taken now, whatever the request holds.
        """
        intake = self.intake
        if intake.is_full or not intake.has_room(sender) or intake.meter.is_over(sender):
            raise RefusedError(FULL)
        if not self._requests.take(sender, 1):
            raise RefusedError(FULL)
        try:
            yield
        finally:
            self._requests.give_back(sender, 1)

    def is_operator(self, authorizations: Sequence[str], certified: str | None) -> bool:
        """Whether somebody may see what the service counts and why the database took nothing."""
        if not self.has_senders:
            return True
        try:
            return self.identify(authorizations, certified).organization == ""
        except RefusedError:
            return False

    def hold(self, sender: str, more_bytes: int) -> None:
        """Count bytes of bodies that are held or, negative, no longer.

        Raises:
            RefusedError: it is too much.
        """
        if more_bytes <= 0:
            self.intake.memory.give_back(sender, -more_bytes)
        elif not self.intake.memory.take(sender, more_bytes):
            raise RefusedError(FULL)

    def unpack(self, inflater: Inflater, data: bytes, sender: str) -> int:
        """Take the next piece of a body; by how many bytes it grew.

        Raises:
            RefusedError: the sender's work is too much, its bodies that are in already included.
            TooLargeError, MalformedError: as `Inflater.feed`.
        """
        before, began = inflater.size, time.thread_time()
        inflater.feed(data)
        self.intake.meter.charge(sender, time.thread_time() - began)
        self._check_work(inflater.size, sender)
        return inflater.size - before

    async def decode(self, signal: str, content_type: bytes, body: bytes, sender: str) -> Received:
        """Read a request's body.

        Raises:
            RefusedError: it is none, or holds too much.
        """
        decode = _DECODERS[signal, content_type == JSON]
        try:
            if len(body) <= _DECODED_IN_PLACE:
                return self._decoded(decode, body, sender)
            loop = asyncio.get_running_loop()
            # Those of its other connections may have been decoded meanwhile.
            self._check_work(len(body), sender)
            return await loop.run_in_executor(self._decoder, self._decoded, decode, body, sender)
        except MalformedError as error:
            raise RefusedError(Refusal(400, str(error))) from None
        except TooLargeError as error:
            raise RefusedError(Refusal(413, str(error))) from None

    async def store(self, received: Received, header: SpoolHeader) -> Counter[str]:
        """Bring what a request holds into the ledger.

        Returns:
            Why spans were set aside -> how many, once all others are committed.

        Raises:
            RefusedError: nothing of it was taken, or not all of it.
        """
        set_aside: Counter[str] = Counter()
        organization = header.organization
        days = self.limits.sender_days if organization else self.limits.most_days
        if received.records:
            try:
                set_aside = await self.intake.commit(
                    received.records, header, received.size, RequestBounds(days)
                )
            except FullError:
                raise RefusedError(FULL) from None
            except AwayError as error:
                # Where the database is, a tenant need not know: the log says it.
                why = _AWAY if self.has_senders else str(error)
                told = f"nothing was stored: {why}"
                raise RefusedError(Refusal(503, told, AWAY_SECONDS)) from None
        state = self.intake.state
        state.received += len(received.records) + received.set_aside.total()
        state.dropped += received.dropped
        counted(state.set_aside, received.set_aside)
        self.intake.count_lost(received.set_aside, organization)
        return set_aside + received.set_aside

    def close(self) -> None:
        """Let the decoding thread go."""
        self._decoder.shutdown(wait=False)

    def _check_work(self, size: int, sender: str) -> None:
        if size > _DECODED_IN_PLACE and self.intake.meter.is_over(sender):
            raise RefusedError(FULL)

    def _decoded(self, decode: Callable[[bytes], Received], body: bytes, sender: str) -> Received:
        began = time.thread_time()
        try:
            # As long as it waited for the thread, others' work was done.
            self._check_work(len(body), sender)
            received = decode(body)
            received.size = bytes_of(received.records, len(body))
        finally:
            self.intake.meter.charge(sender, time.thread_time() - began)
        return received
