"""A ledger with calls, and a dashboard over it."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final

import psycopg
import pytest

from support.dashboard import Dashboard
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
            options = DashboardOptions(**more)
            return stack.enter_context(Dashboard(options))

        yield open_dashboard


@pytest.fixture
def dashboard(opened: Callable[..., Dashboard]) -> Dashboard:
    return opened()
