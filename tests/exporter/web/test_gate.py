"""Who may look: only this machine without a token, and an organization's token sees its calls."""

from __future__ import annotations

import base64
import os
from typing import TYPE_CHECKING

import pytest
from psycopg.conninfo import make_conninfo

from tokenledger_exporter.access.tokens import new_token, token_line
from tokenledger_exporter.errors import InvalidRequestError
from tokenledger_exporter.web.options import DashboardOptions

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.dashboard import Dashboard

ANY, ACME = new_token(), new_token()
TOKENS = f"{token_line('*', ANY)},{token_line('acme', ACME)}"


def basic(token: str) -> str:
    return "Basic " + base64.b64encode(f"me:{token}".encode()).decode()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "ledger.example.com", ""])  # noqa: S104 - refused
def test_an_address_that_others_reach_needs_tokens(host: str) -> None:
    with pytest.raises(
        InvalidRequestError, match="use --tokens-file or --proxy-user-header, or listen"
    ):
        DashboardOptions(database_url="", host=host)
    assert DashboardOptions(database_url="", host=host, tokens=TOKENS)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_this_machine_needs_none(host: str) -> None:
    assert DashboardOptions(database_url="", host=host)


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("127.0.0.1:8765", 200),
        ("localhost", 200),
        ("[::1]:8765", 200),
        ("ledger.local", 200),
        ("evil.example.com", 421),
        ("evil.example.com:8765", 421),
        ("", 421),
    ],
)
def test_a_page_of_another_server_cannot_read_by_its_own_name(
    opened: Callable[..., Dashboard], name: str, status: int
) -> None:
    """DNS rebinding: the browser names the other server in its Host header."""
    dashboard = opened(server_names=("ledger.local",))
    assert dashboard.get("/api/v1/dimensions", host=name).status == status


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_the_dashboard_only_reads(dashboard: Dashboard, method: str) -> None:
    response = dashboard.get("/api/v1/summary", method=method)
    assert (response.status, response.headers["allow"]) == (405, "GET, HEAD")


def test_every_answer_has_the_security_headers_and_none_opens_cors(dashboard: Dashboard) -> None:
    for path in ("/api/v1/summary", "/api/v1/summary?days=0", "/nothing", "/health"):
        headers = dashboard.get(path, origin="https://evil.example.com").headers
        assert headers["content-security-policy"].startswith("default-src 'self'")
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"
        assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer",
        "Bearer wrong",
        basic("wrong"),
        "Basic !!!",
        "Basic " + base64.b64encode(b"\xff:\xff").decode(),
        ANY,
    ],
    ids=["none", "empty", "wrong", "basic_wrong", "no_base64", "no_utf8", "no_scheme"],
)
def test_without_a_known_token_nothing_is_shown(
    opened: Callable[..., Dashboard], authorization: str
) -> None:
    dashboard = opened(tokens=TOKENS)
    response = dashboard.get("/api/v1/summary", authorization=authorization)
    assert response.status == 401
    assert response.headers["www-authenticate"].startswith("Basic ")
    assert "0.35" not in response.body.decode()


@pytest.mark.parametrize(
    "authorization",
    [f"Bearer {ANY}", f"bearer {ANY}", basic(ANY)],
    ids=["bearer", "lower_case", "basic"],
)
def test_a_token_of_every_organization_sees_all_by_any_name(
    opened: Callable[..., Dashboard], authorization: str
) -> None:
    dashboard = opened(tokens=TOKENS)
    response = dashboard.get(
        "/api/v1/summary", authorization=authorization, host="ledger.example.com"
    )
    assert response.json()["total_cost"] == "0.35"


def test_health_needs_no_token_and_says_nothing_of_the_ledger(
    opened: Callable[..., Dashboard],
) -> None:
    response = opened(tokens=TOKENS).get("/health")
    assert (response.status, sorted(response.json())) == (200, ["database", "status", "version"])


def test_an_organizations_token_sees_its_calls_alone(
    opened: Callable[..., Dashboard], reader_url: str
) -> None:
    dashboard = opened(database_url=reader_url, tokens=TOKENS)

    def summary(token: str, path: str = "/api/v1/summary") -> tuple[str, int]:
        document = dashboard.get(path, authorization=f"Bearer {token}").json()
        return document["total_cost"], document["total_requests"]

    # The same connection serves both, one after the other.
    for _ in range(3):
        assert summary(ACME) == ("0.1", 2)
        assert summary(ANY) == ("0.35", 3)
    asked = "/api/v1/report?by=organization&where=organization=globex"
    other = dashboard.get(asked, authorization=f"Bearer {ACME}").json()
    assert (other["rows"], other["totals"]["calls"]) == ([], 0)
    events = dashboard.get("/api/v1/events", authorization=f"Bearer {ACME}").json()["events"]
    assert {event["organization_id"] for event in events} == {"acme"}


def test_an_organizations_token_is_refused_where_row_level_security_does_not_apply(
    opened: Callable[..., Dashboard], filled_url: str, reader_url: str
) -> None:
    """Owners and writers see every row, so a filter of ours would be all that is left."""
    writer_url = make_conninfo(reader_url, user=f"w{os.getpid()}_dashboard_writes")
    for url in (filled_url, writer_url):
        dashboard = opened(database_url=url, tokens=TOKENS)
        response = dashboard.get("/api/v1/summary", authorization=f"Bearer {ACME}")
        assert response.status == 503
        assert "use a login of the role tokenledger_reader" in response.json()["detail"]
