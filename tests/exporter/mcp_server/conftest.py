"""A ledger with calls, and a client that asks its MCP server."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psycopg
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from contextlib import AbstractAsyncContextManager

PROGRAM: Final = str(Path(sys.executable).with_name("tokenledger"))

CALLS: Final = """
INSERT INTO token_ledger_events (
    timestamp, provider, model, user_id, feature, organization_id, cost_status, cost_usd,
    input_tokens, output_tokens, total_tokens, duration_ms
)
VALUES
    (now(), 'openai', 'gpt-4o', 'ann', 'chat', 'acme', 'priced', 0.1, 10, 1, 11, NULL),
    (now() - interval '2 days', 'anthropic', 'claude-opus-5', 'bob', 'search', 'globex', 'priced',
     0.25, 20, 2, 22, 1000),
    (now() - interval '3 days', 'openai', 'acme-7b', 'ann', 'chat', 'acme', 'unpriced', NULL,
     40, 4, 44, 90000),
    (now() - interval '9 days', 'openai', 'gpt-4o', 'ann', 'chat', 'acme', 'priced', 0.4,
     10, 1, 11, NULL)
"""


@pytest.fixture
def ledger(database_url: str) -> str:
    """$0.35 in three calls of the last week, one without a known cost, and $0.40 before."""
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "SELECT token_ledger_add_partitions((now() - interval '2 months')::date, now()::date)"
        )
        connection.execute(CALLS.encode())
    return database_url


@pytest.fixture
def stdio(
    ledger: str, tmp_path: Path
) -> Generator[Callable[..., AbstractAsyncContextManager[Client]]]:
    """Starts `tokenledger mcp` as an agent does; its standard error is in `server.log`."""
    variables = {"TOKENLEDGER_DATABASE_URL": ledger, "HOME": str(tmp_path), "PATH": os.defpath}
    with (tmp_path / "server.log").open("w", encoding="utf-8") as log:

        def start(*words: str) -> AbstractAsyncContextManager[Client]:
            server = StdioServerParameters(command=PROGRAM, args=["mcp", *words], env=variables)
            return Client(stdio_client(server, log), read_timeout_seconds=60)

        yield start
