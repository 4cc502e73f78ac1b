"""No page and no endpoint shows a token's holder anything of another organization."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import psycopg
import pytest

from tokenledger_exporter.access.tokens import new_token, token_line
from tokenledger_exporter.web.api.endpoint import PREFIX
from tokenledger_exporter.web.api.endpoints import ENDPOINTS
from tokenledger_exporter.web.pages.all_pages import PAGES

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.dashboard import Dashboard

ACME = new_token()
TOKENS = token_line("acme", ACME)
PATHS = [*(page.path for page in PAGES), *(PREFIX + endpoint.path for endpoint in ENDPOINTS)]

OTHERS = """
INSERT INTO token_ledger_events
    (timestamp, provider, model, user_id, session_id, team, feature, endpoint, agent_id, project,
     organization_id, app_name, cost_status, cost_usd, trace_id, release, environment, error_type,
     status)
VALUES
    (now() - interval '1 hour', 'openai', 'secret-model', 'secret-user', 'secret-session',
     'secret-team', 'secret-feature', 'secret-endpoint', 'secret-agent', 'secret-project',
     'secret-globex', 'secret-app', 'priced', 777.125, '5ec4e75ec4e75ec4e75ec4e75ec4e75e',
     'secret-release', 'secret-environment', 'secret-error', 'error')
RETURNING event_id::text
"""
NAMES = ("secret", "777.125", "777.1")


@pytest.fixture
def event_id(filled_url: str) -> str:
    """A call of another organization."""
    with psycopg.connect(filled_url) as connection:
        row = connection.execute(OTHERS.encode()).fetchone()
    assert row is not None
    return str(row[0])


@pytest.fixture
def dashboard_of_acme(
    opened: Callable[..., Dashboard], event_id: str, reader_url: str
) -> Dashboard:
    assert event_id
    return opened(database_url=reader_url, tokens=TOKENS)


def filled(path: str, event_id: str) -> str:
    """The path with the names of the other organization."""
    names = {
        "event_id": event_id,
        "user_id": "secret-user",
        "organization_id": "secret-globex",
        "run_id": "5ec4e75ec4e75ec4e75ec4e75ec4e75e",
        "name": "secret-budget",
    }
    return re.sub(r"\{(\w+)(?::\w+)?\}", lambda match: names[match[1]], path)


@pytest.mark.parametrize("path", PATHS)
def test_nothing_of_another_organization_is_shown(
    dashboard_of_acme: Dashboard, event_id: str, path: str
) -> None:
    asked = filled(path, event_id)
    response = dashboard_of_acme.get(asked, authorization=f"Bearer {ACME}")
    assert response.status in {200, 404}, response.body
    text = response.body.decode()
    if path.startswith(("/users/", "/tenants/")):
        # A name without calls has a page without figures, on which it is named.
        text = text.replace("secret-user", "").replace("secret-globex", "")
    elif path.startswith("/api/v1/budgets/"):
        # Budgets may count the calls of several organizations: whatever its name, none is shown.
        assert not response.json().get("changes"), text
    elif asked != path:
        assert response.status == 404
    for name in NAMES:
        # An error may repeat what was asked for.
        assert name not in text.replace(asked.rpartition("/")[2], "")


@pytest.mark.parametrize("path", PATHS)
def test_without_a_token_nothing_at_all_is_shown(
    dashboard_of_acme: Dashboard, event_id: str, path: str
) -> None:
    response = dashboard_of_acme.get(filled(path, event_id))
    assert response.status == 401
    assert "acme" not in response.body.decode()
