"""Requests about budgets: which method and path, what the body says, and what is answered.

They have their own threads and connections, so that no model call waits for the calls that are
being stored, and none of those for a budget that is locked.
"""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from typing import TYPE_CHECKING, Final, TypeVar
from urllib.parse import parse_qsl

import msgspec

from tokenledger_exporter.budgets.budgets import MAX_ROWS
from tokenledger_exporter.errors import InvalidRequestError, LedgerError
from tokenledger_exporter.log import warn
from tokenledger_exporter.server.budgets.connections import BudgetConnections
from tokenledger_exporter.server.budgets.ledger import BudgetLedger
from tokenledger_exporter.server.budgets.messages import (
    Refused,
    ReleaseRequest,
    ReserveRequest,
    SettleRequest,
)
from tokenledger_exporter.server.budgets.openapi import openapi
from tokenledger_exporter.server.responses import Refusal, RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tokenledger_exporter.server.ingest.fair_share import Budget as FairShare

_Request = TypeVar("_Request", ReserveRequest, SettleRequest, ReleaseRequest)

ROOT: Final = "/v1/budgets"
"""The path of the list of budgets; all other paths begin with it."""

DOCUMENT: Final = f"{ROOT}/openapi.json"
"""The path of the OpenAPI document."""

MAX_WAITING: Final = 64
"""Requests of one worker that may wait, or are being answered."""

MAX_BODY_BYTES: Final = 65_536
"""The largest request, in bytes."""

_METHODS: Final = {
    ROOT: "GET",
    DOCUMENT: "GET",
    f"{ROOT}/reserve": "POST",
    f"{ROOT}/settle": "POST",
    f"{ROOT}/release": "POST",
}
_THREADS: Final = 4
_MAX_WAIT_SECONDS: Final = 1.0
_BUSY_SECONDS: Final = 1
_UNAVAILABLE_SECONDS: Final = 5
_DEFAULT_LIMIT: Final = 100

_BUSY: Final = Refusal(503, "too many requests about budgets wait; retry later", _BUSY_SECONDS)


class BudgetService:
    """Answers the requests about budgets of one worker.

    Args:
        database_url: the ledger.
        waiting: how many requests may wait, by sender.
        has_senders: whether tokens or certificates distinguish the senders.
    """

    def __init__(self, database_url: str, waiting: FairShare, *, has_senders: bool) -> None:
        self._connections: Final = BudgetConnections(database_url)
        self._ledger: Final = BudgetLedger(self._connections)
        self._threads: Final = ThreadPoolExecutor(_THREADS, "tokenledger-budgets")
        self._waiting: Final = waiting
        self._has_senders: Final = has_senders

    @staticmethod
    def answers(path: str) -> bool:
        """Whether a path is one of these."""
        return path == ROOT or path.startswith(f"{ROOT}/")

    @staticmethod
    def check(method: str, path: str) -> None:
        """Refuse an unknown path, or another method than the path has.

        Raises:
            RefusedError: the request is refused.
        """
        expected = _METHODS.get(path)
        if expected is None:
            raise RefusedError(Refusal(404, f"unknown path; use {', '.join(_METHODS)}"))
        if method != expected:
            raise RefusedError(
                Refusal(405, f"method not allowed; use {expected}", allowed_method=expected)
            )

    @staticmethod
    def document() -> bytes:
        """The OpenAPI document."""
        return msgspec.json.encode(openapi(version("tokenledger-otel")))

    async def answer(
        self, path: str, query: bytes, body: bytes, organization: str
    ) -> tuple[int, bytes]:
        """Answer a request whose method and path were checked: status and body.

        Args:
            path: its path.
            query: what follows the question mark.
            body: its body.
            organization: the organization of the sender; "" if it is bound to none.

        Raises:
            RefusedError: the request is invalid, too many wait, or the database does not answer.
        """
        work = self._work(path, query, body, organization)
        if not self._waiting.acquire(organization, 1):
            raise RefusedError(_BUSY)
        try:
            loop = asyncio.get_running_loop()
            deadline = time.monotonic() + _MAX_WAIT_SECONDS
            answer = await loop.run_in_executor(self._threads, _unless_late, work, deadline)
        except InvalidRequestError as error:
            raise RefusedError(Refusal(400, str(error))) from None
        except LedgerError as error:
            warn("budgets_unavailable", f"a request about budgets was not answered: {error}")
            # The error may name the database host, which only the operator's log should show.
            detail = "the database does not answer" if self._has_senders else str(error)
            reason = f"nothing was changed: {detail}; retry later"
            raise RefusedError(Refusal(503, reason, _UNAVAILABLE_SECONDS)) from None
        finally:
            self._waiting.release(organization, 1)
        return 402 if isinstance(answer, Refused) else 200, msgspec.json.encode(answer)

    def close(self) -> None:
        """Finish what was begun, and close the connections."""
        self._threads.shutdown()
        self._connections.close()

    def _work(
        self, path: str, query: bytes, body: bytes, organization: str
    ) -> Callable[[], msgspec.Struct]:
        ledger = self._ledger
        if path == ROOT:
            name, limit = _listed(query)
            return lambda: ledger.budgets(name, limit, organization)
        if path.endswith("/reserve"):
            reserved = _decode(body, ReserveRequest)
            return lambda: ledger.reserve(reserved, organization)
        if path.endswith("/settle"):
            settled = _decode(body, SettleRequest)
            return lambda: ledger.settle(settled, organization)
        released = _decode(body, ReleaseRequest)
        return lambda: ledger.release(released, organization)


def _unless_late(work: Callable[[], msgspec.Struct], deadline: float) -> msgspec.Struct:
    """Do work whose client has not waited for too long: a budget may be locked."""
    if time.monotonic() > deadline:
        raise RefusedError(_BUSY)
    return work()


def _decode(body: bytes, kind: type[_Request]) -> _Request:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        place = str(error) or type(error).__name__
        hint = '; US dollars are text, like "0.02"' if "_usd" in place else ""
        raise RefusedError(Refusal(400, f"invalid body: {place}{hint}; see {DOCUMENT}")) from None


def _listed(query: bytes) -> tuple[str | None, int]:
    """The budget and the limit of a list."""
    values = dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True))
    if unknown := values.keys() - {"budget", "limit"}:
        raise RefusedError(Refusal(400, f"unknown parameter {min(unknown)!r}; use budget or limit"))
    limit = values.get("limit", str(_DEFAULT_LIMIT))
    if not (limit.isascii() and limit.isdigit() and 1 <= int(limit[:9]) <= MAX_ROWS):
        raise RefusedError(Refusal(400, f"limit must be 1 to {MAX_ROWS}, not {limit[:32]!r}"))
    name = values.get("budget")
    if name is not None and "\0" in name:
        raise RefusedError(Refusal(400, "invalid budget: its name contains a NUL character"))
    return name, int(limit)
