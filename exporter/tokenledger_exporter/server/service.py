"""What HTTP and gRPC share: from a body and whose it is to the answer.

Bodies that are being read or decoded are bounded together, and large ones are decoded one at a time
in a thread of their own, so that one sender cannot take the others' turn or the machine's memory.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from tokenledger_exporter.server.answers import (
    AWAY_SECONDS,
    FULL_SECONDS,
    JSON,
    Refusal,
    RefusedError,
)
from tokenledger_exporter.server.decoding import decode_traces
from tokenledger_exporter.server.intake import AwayError, FullError
from tokenledger_exporter.server.json_decoding import decode_json_traces
from tokenledger_exporter.server.logs import decode_json_logs, decode_logs
from tokenledger_exporter.server.received import MalformedError, TooLargeError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tokenledger_exporter.records import SpoolHeader
    from tokenledger_exporter.server.intake import Intake
    from tokenledger_exporter.server.received import Received
    from tokenledger_exporter.server.tokens import Tokens

REQUEST_SECONDS: Final = 8.0
"""How long a request may take to arrive, from its first byte to its last."""

_AWAY: Final = "the database takes nothing now"
_DECODED_IN_PLACE: Final = 131_072
_BODIES_AT_ONCE: Final = 16

_DECODERS: Final[Mapping[tuple[str, bool], Callable[[bytes], Received]]] = {
    ("traces", False): decode_traces,
    ("traces", True): decode_json_traces,
    ("logs", False): decode_logs,
    ("logs", True): decode_json_logs,
}

UNAUTHORIZED: Final = Refusal(401, "send a token of this ledger: Authorization: Bearer ...")
"""To who has no token."""

FULL: Final = Refusal(429, "more waits for the database than may: send again", FULL_SECONDS)
"""To who comes when too much waits."""


class Service:
    """One worker's.

    Args:
        intake: where records go.
        tokens: who may send; without any, everybody.
        header: whose the records are.
        most_body_bytes: how large a body may be, uncompressed.
    """

    def __init__(
        self, intake: Intake, tokens: Tokens, header: SpoolHeader, most_body_bytes: int
    ) -> None:
        self.intake: Final = intake
        self.most_body_bytes: Final = most_body_bytes
        self._tokens: Final = tokens
        self._header: Final = header
        self._headers: Final[dict[str, SpoolHeader]] = {"": header}
        self._held_bytes = 0
        self._decoder: Final = ThreadPoolExecutor(1, "tokenledger-decode")

    def admit(self, authorization: str) -> SpoolHeader:
        """Whose a request is, by its token; asked before its body is read.

        Raises:
            RefusedError: its token is nobody's, or nothing is taken now, whatever it holds.
        """
        header = self._header_of(authorization)
        if self.intake.is_full:
            raise RefusedError(FULL)
        return header

    def is_operator(self, authorization: str) -> bool:
        """Whether somebody may see what the service counts and why the database took nothing."""
        return not self._tokens or self._tokens.organization_of(authorization) == ""

    def hold(self, more_bytes: int) -> None:
        """Count bytes of bodies that are held or, negative, no longer.

        Raises:
            RefusedError: it is too much.
        """
        self._held_bytes += more_bytes
        if more_bytes > 0 and self._held_bytes > _BODIES_AT_ONCE * self.most_body_bytes:
            raise RefusedError(FULL)

    async def decode(self, signal: str, content_type: bytes, body: bytes) -> Received:
        """Read a request's body.

        Raises:
            RefusedError: it is none, or holds too much.
        """
        decode = _DECODERS[signal, content_type == JSON]
        try:
            if len(body) <= _DECODED_IN_PLACE:
                return decode(body)
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._decoder, decode, body)
        except MalformedError as error:
            raise RefusedError(Refusal(400, str(error))) from None
        except TooLargeError as error:
            raise RefusedError(Refusal(413, str(error))) from None

    async def store(self, received: Received, header: SpoolHeader) -> Counter[str]:
        """Bring what a request holds into the ledger.

        Returns:
            Why spans were set aside -> how many, once all others are committed.

        Raises:
            RefusedError: nothing of it was taken.
        """
        set_aside: Counter[str] = Counter()
        if received.records:
            try:
                set_aside = await self.intake.commit(received.records, header)
            except FullError:
                raise RefusedError(FULL) from None
            except AwayError as error:
                # Where the database is, a tenant need not know: the log says it.
                why = _AWAY if self._tokens else str(error)
                told = f"nothing was stored: {why}"
                raise RefusedError(Refusal(503, told, AWAY_SECONDS)) from None
        state = self.intake.state
        state.received += len(received.records) + received.set_aside.total()
        state.dropped += received.dropped
        state.set_aside += received.set_aside
        self.intake.count_lost(received.set_aside)
        return set_aside + received.set_aside

    def close(self) -> None:
        """Let the decoding thread go."""
        self._decoder.shutdown(wait=False)

    def _header_of(self, authorization: str) -> SpoolHeader:
        if not self._tokens:
            return self._header
        organization = self._tokens.organization_of(authorization)
        if organization is None:
            raise RefusedError(UNAUTHORIZED)
        header = self._headers.get(organization)
        if header is None:
            header = replace(self._header, organization=organization)
            self._headers[organization] = header
        return header
