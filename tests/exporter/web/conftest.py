"""A ledger with calls, and a dashboard over it."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from support.dashboard import Dashboard
from tokenledger_exporter.db.roles import create_roles
from tokenledger_exporter.web.options import DashboardOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

CALLS: Final = """
INSERT INTO token_ledger_events
    (timestamp, provider, model, user_id, team, organization_id, app_name, cost_status, cost_usd,
     input_tokens, output_tokens, total_tokens, status, error_type, duration_ms, metadata)
VALUES
    (now(), 'openai', 'gpt-4o', 'ann', 'ml', 'acme', 'shop', 'priced', 0.1,
     10, 1, 11, 'success', '', 20, '{"tier": "gold"}'),
    (now() - interval '2 days', 'anthropic', 'claude-opus-5', 'bob', 'web', 'globex', 'shop',
     'priced', 0.25, 20, 2, 22, 'success', '', 40, '{}'),
    (now() - interval '3 days', 'openai', 'acme-7b', 'ann', 'web', 'acme', 'desk', 'unpriced', NULL,
     40, 4, 44, 'error', 'timeout', NULL, '{}')
"""
"""$0.35 in three calls of the last week, one of them without a known cost."""


@pytest.fixture
def filled_url(database_url: str) -> str:
    with psycopg.connect(database_url) as connection:
        connection.execute(CALLS.encode())
    return database_url


@pytest.fixture
def opened(filled_url: str) -> Generator[Callable[..., Dashboard]]:
    """Opens a dashboard of the ledger with further options."""
    with ExitStack() as stack:

        def open_dashboard(**more: Any) -> Dashboard:  # noqa: ANN401 - fields of the options
            more.setdefault("database_url", filled_url)
            mounted = more.pop("mounted", ())
            options = DashboardOptions(**more)
            return stack.enter_context(Dashboard(options, mounted))

        yield open_dashboard


@pytest.fixture
def dashboard(opened: Callable[..., Dashboard]) -> Dashboard:
    return opened()


@pytest.fixture
def reader_url(filled_url: str) -> Generator[str]:
    """A login of the reader role that may see every organization."""
    prefix = f"w{os.getpid()}"
    names = create_roles(filled_url, prefix)
    login = f"{prefix}_dashboard"
    with psycopg.connect(filled_url) as connection:
        connection.execute(f"CREATE ROLE {login} LOGIN PASSWORD 'pw' IN ROLE {names[2]}".encode())
        connection.execute(
            "INSERT INTO token_ledger_reader_organizations"
            " SELECT oid, '', now(), true FROM pg_roles WHERE rolname = %s",
            (login,),
        )
        connection.execute(
            f"CREATE ROLE {login}_writes LOGIN PASSWORD 'pw' IN ROLE {names[0]}".encode()
        )
    yield make_conninfo(filled_url, user=login, password="pw")
    with psycopg.connect(filled_url, autocommit=True) as connection:
        for name in (login, f"{login}_writes", *names):
            connection.execute(f"DROP OWNED BY {name}; DROP ROLE {name}".encode())
