"""Runs the server on standard input and output; standard output carries the protocol only."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from contextlib import closing, suppress
from threading import Thread
from typing import TYPE_CHECKING

from mcp.server.stdio import stdio_server

from tokenledger_exporter.mcp_server.server import create_server
from tokenledger_exporter.queries.reader import Reader

if TYPE_CHECKING:
    from mcp.server.lowlevel import Server


def run(database_url: str, organization: str = "", *, timeout_seconds: float = 10.0) -> None:
    """Serve one client until it closes standard input, or until Ctrl-C.

    The server runs in a thread of its own: a thread that waits for standard input cannot be
    interrupted, so that only the main thread can end while the input is open.

    Args:
        database_url: the ledger; it is opened at the first question, so it may be away.
        organization: only this organization's calls are visible; "" is all that the database user
            may see.
        timeout_seconds: the longest time of a statement.
    """
    reader = Reader(database_url, connections=4, timeout_seconds=timeout_seconds)
    outcome: Future[None] = Future()
    server = create_server(reader.snapshot, lambda _request: organization)
    with closing(reader), suppress(KeyboardInterrupt):
        Thread(target=_run, args=(server, outcome), daemon=True).start()
        outcome.result()


def _run(server: Server, outcome: Future[None]) -> None:
    try:
        outcome.set_result(asyncio.run(_serve(server)))
    except BaseException as error:  # noqa: BLE001 - the main thread raises it
        outcome.set_exception(error)


async def _serve(server: Server) -> None:
    async with stdio_server() as (incoming, outgoing):
        await server.run(incoming, outgoing, server.create_initialization_options())
