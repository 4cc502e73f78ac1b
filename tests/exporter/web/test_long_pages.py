"""What all pages with long tables promise: inert names, no code in the page, one tenant only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import psycopg
import pytest

from support.ledger_rows import ask
from support.page_reader import PageReader, read
from tokenledger_exporter.access.tokens import new_token, token_line
from tokenledger_exporter.db.roles import bind_reader, create_roles

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.dashboard import Dashboard

PAGES: Final = (
    *("/runs", "/runs?kind=session", "/users", "/tenants", "/calls", "/prices", "/prices/missing"),
    *("/prices/changes", "/prices/model?provider=openai&model=gpt-4o", "/ledger"),
)
PUBLIC: Final = ("/prices?", "/prices/changes", "/prices/model")
"""Pages of the price book, which every tenant sees."""

HOSTILE: Final = "<script>alert(1)</script>\u202e\x1b[31m\"' style="


@pytest.fixture
def hostile_paths(filled_url: str) -> list[str]:
    """Every page of a ledger whose names are hostile, with the pages of its calls."""
    columns = (
        *("model", "request_model", "user_id", "team", "feature", "error_type", "session_id"),
        *("organization_id", "agent_id", "cost_note", "scope", "price_id", "response_id"),
    )
    assignments = ", ".join(f"{column} = %(name)s" for column in columns)
    with psycopg.connect(filled_url) as connection:
        connection.execute(
            f"UPDATE token_ledger_events SET {assignments}, trace_id = %(name)s,"
            " metadata = jsonb_build_object(%(name)s::text, %(name)s::text)".encode(),
            {"name": HOSTILE},
        )
        connection.execute(
            "INSERT INTO token_ledger_rejected (event_id, reason, event)"
            " VALUES (gen_random_uuid(), %s, '{}')",
            [HOSTILE],
        )
    calls = ask(filled_url, "SELECT '/calls/' || event_id FROM token_ledger_events")
    return [*PAGES, *(path for (path,) in calls)]


def check(page: PageReader) -> None:
    """No code in the page, and nothing from elsewhere."""
    for tag, attributes in page.tags:
        assert tag not in {"style", "iframe", "object", "base"}
        assert tag != "script" or (attributes["src"] or "").startswith("/static/")
        assert not any(name.startswith("on") or name == "style" for name in attributes)
        for name in ("src", "href", "action"):
            assert (attributes.get(name) or "/").startswith(("/", "#"))


def test_names_of_senders_are_inert_text(dashboard: Dashboard, hostile_paths: list[str]) -> None:
    links = [
        link
        for path in ("/runs", "/runs?kind=session", "/users", "/tenants")
        for row in read(dashboard, path).rows
        for cell in row[:1]
        for link in cell.links
    ]
    assert len(links) == 4
    for path in [*hostile_paths, *links]:
        response = dashboard.get(path)
        assert response.status == 200, (path, response.body)
        body = response.body.decode()
        assert "<script>" not in body, path
        assert "\x1b" not in body, path
        assert "\u202e" not in body, path
        check(PageReader(body))


def test_a_long_name_has_all_of_it_in_its_title(dashboard: Dashboard, filled_url: str) -> None:
    name = "n" * 255
    with psycopg.connect(filled_url) as connection:
        connection.execute("UPDATE token_ledger_events SET user_id = %s", [name])
    page = read(dashboard, "/users")
    assert ("bdi", {"class": "name", "title": name}) in page.tags


def test_a_token_of_one_tenant_sees_no_other(
    opened: Callable[..., Dashboard], filled_url: str
) -> None:
    _, _, reader = create_roles(filled_url, "pages")
    with psycopg.connect(filled_url) as connection:
        connection.execute("DROP ROLE IF EXISTS pages_looker")
        connection.execute(f"CREATE ROLE pages_looker LOGIN PASSWORD 'x' IN ROLE {reader}".encode())
        connection.execute(
            "UPDATE token_ledger_events SET trace_id = md5(model), session_id = 's-' || model"
        )
        connection.execute(
            "INSERT INTO token_ledger_losses (reason, records, organization_id)"
            " VALUES ('theirs', 9, 'globex')"
        )
    bind_reader(filled_url, "pages_looker", (), to_all=True)
    token = new_token()
    address = filled_url.partition("@")[2]
    dashboard = opened(
        database_url=f"postgresql://pages_looker:x@{address}", tokens=token_line("acme", token)
    )
    for path in (*PAGES[:5], *PAGES[6:], "/users/bob", "/tenants/globex"):
        response = dashboard.get(path, authorization=f"Bearer {token}")
        assert response.status == 200, (path, response.body)
        page = PageReader(response.body.decode())
        assert "theirs" not in page.text
        if path.startswith(PUBLIC):
            continue
        # globex made one call: bob's, of claude-opus-5.
        assert not any("claude-opus-5" in row[0].text for row in page.rows if row), path
        assert "0.25" not in page.values, path
    listed = dashboard.get("/tenants", authorization=f"Bearer {token}").body.decode()
    names = [row[0].text.strip() for row in PageReader(listed).rows if len(row) == 10]
    assert names == ["acme", "1 tenant"]
