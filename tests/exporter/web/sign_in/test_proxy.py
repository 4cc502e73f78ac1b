"""A proxy that signs people in is believed from its own address alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.command_line import run
from tokenledger_exporter.access.tokens import new_token, token_line
from tokenledger_exporter.errors import InvalidRequestError
from tokenledger_exporter.web.options import DashboardOptions
from tokenledger_exporter.web.sign_in.access import Access
from tokenledger_exporter.web.sign_in.proxy import TrustedProxy

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.dashboard import Dashboard

PROXY = "127.0.0.7"
ALICE = ("X-Forwarded-User", "alice@example.com")
ORGANIZATION = "X-Forwarded-Organization"
SUMMARY = "/api/v1/summary"


@pytest.fixture
def behind_proxy(opened: Callable[..., Dashboard]) -> Dashboard:
    return opened(proxy_addresses=(PROXY,), proxy_user_header="X-Forwarded-User")


def test_the_proxy_is_believed(behind_proxy: Dashboard) -> None:
    response = behind_proxy.send(SUMMARY, "GET", [ALICE], address=PROXY)
    assert response.json()["total_cost"] == "0.35"


@pytest.mark.parametrize(
    "headers",
    [
        [ALICE],
        [ALICE, ("X-Forwarded-For", PROXY)],
        [ALICE, ("X-Real-IP", PROXY), ("Forwarded", f"for={PROXY}")],
        [],
    ],
)
@pytest.mark.parametrize("path", [SUMMARY, "/", "/calls"])
def test_anyone_else_who_sends_the_header_is_refused(
    behind_proxy: Dashboard, headers: list[tuple[str, str]], path: str
) -> None:
    response = behind_proxy.send(path, "GET", headers)
    assert (response.status, "0.35" in response.body.decode()) == (403, False)


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("X-Forwarded-User", "")],
        [ALICE, ALICE],
        [("X_Forwarded_User", "alice")],
        [("X-Forwarded-User", "a" * 256)],
    ],
    ids=["none", "empty", "twice", "underscores", "long"],
)
def test_a_request_that_the_proxy_gave_no_clear_user_is_refused(
    behind_proxy: Dashboard, headers: list[tuple[str, str]]
) -> None:
    assert behind_proxy.send(SUMMARY, "GET", headers, address=PROXY).status == 403


def test_the_proxy_may_limit_a_user_to_an_organization(
    opened: Callable[..., Dashboard], reader_url: str
) -> None:
    dashboard = opened(
        database_url=reader_url,
        proxy_addresses=("127.0.0.0/30", PROXY),
        proxy_user_header="x-forwarded-user",
        proxy_organization_header=ORGANIZATION,
    )

    def cost(*headers: tuple[str, str]) -> tuple[int, str]:
        response = dashboard.send(SUMMARY, "GET", [ALICE, *headers], address=PROXY)
        return response.status, str(response.json().get("total_cost"))

    assert cost((ORGANIZATION, "acme")) == (200, "0.1")
    assert cost((ORGANIZATION, "*")) == (200, "0.35")
    assert cost((ORGANIZATION, "nobody")) == (200, "0")
    # Without the header, nothing says that the user may see every organization.
    assert cost() == (403, "None")
    assert cost((ORGANIZATION, "acme"), (ORGANIZATION, "globex")) == (403, "None")


def test_tokens_work_together_with_the_proxy(opened: Callable[..., Dashboard]) -> None:
    token = new_token()
    dashboard = opened(
        proxy_addresses=(PROXY,),
        proxy_user_header="X-Forwarded-User",
        tokens=token_line("*", token),
    )
    assert dashboard.get(SUMMARY, authorization=f"Bearer {token}").status == 200
    assert dashboard.send(SUMMARY, "GET", [ALICE]).status == 401
    assert dashboard.send(SUMMARY, "GET", [ALICE], address=PROXY).status == 200


def test_a_page_of_another_server_cannot_use_a_proxy_on_this_machine(
    behind_proxy: Dashboard,
) -> None:
    """DNS rebinding: a script of the page could send the header, but names its own server."""
    headers = [ALICE, ("Host", "evil.example.com")]
    assert behind_proxy.send(SUMMARY, "GET", headers, address=PROXY).status == 421


@pytest.mark.parametrize(
    ("peer", "is_believed"),
    [
        ("10.0.0.5", True),
        ("::ffff:10.0.0.5", True),
        ("10.0.0.6", False),
        ("2001:db8::5", True),
        ("2001:db9::5", False),
        ("", False),
        ("unix", False),
    ],
)
def test_addresses_and_networks_are_compared_as_numbers(peer: str, is_believed: bool) -> None:
    proxy = TrustedProxy(["10.0.0.5", " 2001:db8::/32"], "X-User")
    assert proxy.sent(peer) == is_believed


def test_attempts_behind_a_proxy_are_those_of_its_clients() -> None:
    proxy = TrustedProxy(["10.0.0.5"])
    headers = {b"x-forwarded-for": [b"6.6.6.6", b"6.6.6.6, 198.51.100.7"]}
    assert proxy.client_of("10.0.0.5", headers) == "198.51.100.7"
    assert proxy.client_of("203.0.113.9", headers) == "203.0.113.9"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"proxy_user_header": "X-User"}, "name the proxy with --proxy-address"),
        ({"proxy_user_header": "X-User", "proxy_addresses": ("host",)}, "invalid --proxy-address"),
        ({"proxy_organization_header": "X-O"}, "needs --proxy-user-header"),
    ],
)
def test_options_that_would_believe_anyone_are_refused(
    more: dict[str, object], message: str
) -> None:
    with pytest.raises(InvalidRequestError, match=message):
        Access(DashboardOptions(database_url="", **more))  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


def test_the_command_takes_the_proxy_instead_of_tokens() -> None:
    words = (
        "--host",
        "192.0.2.1",
        "--proxy-user-header",
        "X-User",
        "--database-url",
        "postgresql://h/d",
    )
    assert "name the proxy with --proxy-address" in run("dashboard", *words).output
    result = run("dashboard", *words, "--proxy-address", "10.0.0.5,10.1.0.0/16")
    assert "cannot listen on 192.0.2.1" in result.output
