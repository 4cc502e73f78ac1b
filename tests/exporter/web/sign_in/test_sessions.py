"""Signing in: a cookie that refers to a token, ends with it, and cannot be forged."""

from __future__ import annotations

import os
import time
from functools import partial
from http.cookies import SimpleCookie
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from itsdangerous import TimestampSigner

from tokenledger_exporter.access.tokens import new_token, token_hash, token_line
from tokenledger_exporter.errors import InvalidRequestError
from tokenledger_exporter.web.options import DashboardOptions
from tokenledger_exporter.web.sign_in import attempts
from tokenledger_exporter.web.sign_in.access import Access
from tokenledger_exporter.web.sign_in.attempts import Attempts
from tokenledger_exporter.web.sign_in.routes import local_path

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.dashboard import Dashboard, Response

ANY, ACME = new_token(), new_token()
TOKENS = f"{token_line('*', ANY)},{token_line('acme', ACME)}"
BROWSER = {"accept": "text/html,application/xhtml+xml"}


@pytest.fixture
def guarded(opened: Callable[..., Dashboard]) -> Dashboard:
    return opened(tokens=TOKENS)


def cookie_of(response: Response) -> str:
    """The cookie that a browser sends back."""
    cookie = SimpleCookie(response.headers["set-cookie"])
    return "; ".join(f"{name}={morsel.value}" for name, morsel in cookie.items())


def sign_in(dashboard: Dashboard, token: str = ANY, following: str = "/") -> str:
    response = dashboard.post("/sign-in", {"token": token, "next": following})
    assert (response.status, response.headers["location"]) == (303, following)
    return cookie_of(response)


def _ago(seconds: int) -> int:
    return int(time.time()) - seconds


def is_asked(dashboard: Dashboard, cookie: str) -> bool:
    """Whether a page leads to the sign-in page."""
    response = dashboard.get("/", cookie=cookie, **BROWSER)
    assert (response.status == 303) == response.headers.get("location", "").startswith("/sign-in")
    return response.status == 303


def test_a_page_leads_to_the_form_and_back(guarded: Dashboard) -> None:
    wanted = "/calls?since=7d&where=team%3Dml"
    response = guarded.get(wanted, **BROWSER)
    assert response.status == 303
    assert response.headers["location"] == f"/sign-in?next={quote(wanted, safe='/')}"
    form = guarded.get(response.headers["location"])
    assert (form.status, form.headers["cache-control"]) == (200, "no-store")
    assert 'value="/calls?since=7d&amp;where=team%3Dml"' in form.body.decode()
    cookie = sign_in(guarded, following=wanted)
    assert guarded.get(wanted, cookie=cookie, **BROWSER).status == 200


def test_the_api_answers_a_problem_and_no_form(guarded: Dashboard) -> None:
    response = guarded.get("/api/v1/summary", **BROWSER)
    assert (response.status, response.headers["content-type"]) == (401, "application/problem+json")
    script = guarded.get("/api/v1/summary", sec_fetch_mode="cors")
    assert script.headers["www-authenticate"].startswith("Bearer ")


def test_the_cookie_holds_no_token_and_scripts_cannot_read_it(guarded: Dashboard) -> None:
    response = guarded.post("/sign-in", {"token": ANY})
    header = response.headers["set-cookie"]
    assert ANY not in header
    assert header.startswith("tokenledger_session=")
    assert header.endswith("; Path=/; Max-Age=43200; HttpOnly; SameSite=Lax")
    page = guarded.get("/", cookie=cookie_of(response), **BROWSER).body.decode()
    assert f"token {token_hash(ANY)[:12]}" in page
    assert 'action="/sign-out"' in page
    assert "/sign-out" not in guarded.get("/", authorization=f"Bearer {ANY}").body.decode()


def test_elsewhere_than_on_this_machine_the_cookie_stays_on_https(guarded: Dashboard) -> None:
    there = {"host": "ledger.example.com", "origin": "https://ledger.example.com"}
    header = guarded.post("/sign-in", {"token": ANY}, **there).headers["set-cookie"]
    assert header.startswith("__Host-tokenledger_session=")
    assert header.endswith("; Secure")
    plain = {"host": "ledger.example.com", "origin": "http://ledger.example.com"}
    response = guarded.post("/sign-in", {"token": ANY}, sec_fetch_site="", **plain)
    assert (response.status, "set-cookie" in response.headers) == (403, False)
    assert "Open it over HTTPS" in response.body.decode()


@pytest.mark.parametrize(
    "token",
    ["", "wrong", "tkl_" + "a" * 43, ANY[:-1], token_hash(ANY), TOKENS],
    ids=["empty", "wrong", "unknown", "cut", "hash", "lines"],
)
def test_a_wrong_token_is_refused_and_the_answer_says_no_more(
    guarded: Dashboard, token: str
) -> None:
    response = guarded.post("/sign-in", {"token": token})
    assert (response.status, "set-cookie" in response.headers) == (403, False)
    assert "This token is not valid here." in response.body.decode()


def test_a_session_sees_the_calls_of_its_organization_alone(
    opened: Callable[..., Dashboard], reader_url: str
) -> None:
    dashboard = opened(database_url=reader_url, tokens=TOKENS)
    cookie = sign_in(dashboard, ACME)
    assert dashboard.get("/api/v1/summary", cookie=cookie).json()["total_cost"] == "0.1"
    cookie = sign_in(dashboard, ANY)
    assert dashboard.get("/api/v1/summary", cookie=cookie).json()["total_cost"] == "0.35"


def test_a_forged_cookie_is_worth_nothing(guarded: Dashboard, filled_url: str) -> None:
    cookie = sign_in(guarded)
    assert not is_asked(guarded, cookie)
    name, _, value = cookie.partition("=")
    # A compressed payload begins with a dot.
    payload, stamp, signature = value.rsplit(".", 2)
    other_key = Access(DashboardOptions(database_url=filled_url, tokens=TOKENS))
    foreign = other_key.session_cookie(ANY, is_secure=False).partition(";")[0]
    for forged in (
        foreign,
        f"{name}={payload[:-1]}A.{stamp}.{signature}",
        f"{name}={payload}.{stamp}.{'A' * len(signature)}",
        f"{name}={payload}",
        f"{name}=" + "a" * 5_000,
        f"{name}={token_hash(ANY)}",
        f"{name}={ANY}",
        f"{name}=",
    ):
        assert is_asked(guarded, forged), forged


def test_an_old_session_has_ended(guarded: Dashboard, monkeypatch: pytest.MonkeyPatch) -> None:
    for age, has_ended in ((12 * 3_600 - 60, False), (12 * 3_600 + 60, True)):
        with monkeypatch.context() as patched:
            patched.setattr(TimestampSigner, "get_timestamp", partial(_ago, age))
            cookie = sign_in(guarded)
        assert is_asked(guarded, cookie) == has_ended


def test_a_revoked_token_ends_its_sessions(
    opened: Callable[..., Dashboard], tmp_path: Path
) -> None:
    file = tmp_path / "tokens"
    file.write_text(f"{token_line('*', ANY)}\n{token_line('*', ACME)}\n")
    dashboard = opened(tokens_file=str(file))
    revoked, other = sign_in(dashboard, ANY), sign_in(dashboard, ACME)
    file.write_text(f"{token_line('*', ACME)}\n")
    # A file that was written just now may be incomplete, so it is not read yet.
    os.utime(file, (time.time() - 10, time.time() - 10))
    deadline = time.monotonic() + 10
    while not is_asked(dashboard, revoked):
        assert time.monotonic() < deadline, "the session outlived its token"
    assert not is_asked(dashboard, other)


def test_processes_with_the_same_key_file_share_sessions(
    opened: Callable[..., Dashboard], tmp_path: Path
) -> None:
    file = tmp_path / "key"
    file.write_text("0" * 64)
    first, second = (opened(tokens=TOKENS, session_key_file=str(file)) for _ in range(2))
    assert not is_asked(second, sign_in(first))


@pytest.mark.parametrize(("content", "message"), [("short", "shorter than 32"), (None, "cannot")])
def test_a_bad_key_file_is_named(
    tmp_path: Path, filled_url: str, content: str | None, message: str
) -> None:
    file = tmp_path / "key"
    if content is not None:
        file.write_text(content)
    with pytest.raises(InvalidRequestError, match=message):
        Access(DashboardOptions(database_url=filled_url, session_key_file=str(file)))


def test_signing_out_ends_the_session_and_its_copies(guarded: Dashboard) -> None:
    cookie, other = sign_in(guarded), sign_in(guarded)
    response = guarded.post("/sign-out", {}, cookie=cookie)
    assert (response.status, response.headers["location"]) == (303, "/sign-in")
    assert "Max-Age=0" in response.headers["set-cookie"]
    assert is_asked(guarded, cookie)
    assert not is_asked(guarded, other)


@pytest.mark.parametrize(
    ("site", "origin"),
    [
        ("cross-site", ""),
        ("same-site", ""),
        ("none", ""),
        ("cross-site", "same"),
        ("", "https://evil.example.com"),
        ("", "null"),
        ("", "http://127.0.0.1:1"),
        ("", "http://[broken"),
        ("", ""),
    ],
)
@pytest.mark.parametrize("path", ["/sign-in", "/sign-out"])
def test_a_form_of_another_page_is_refused(
    guarded: Dashboard, path: str, site: str, origin: str
) -> None:
    cookie = sign_in(guarded)
    if origin == "same":
        origin = f"http://127.0.0.1:{guarded.port}"
    headers = {"sec_fetch_site": site, "origin": origin, "cookie": cookie}
    response = guarded.post(path, {"token": ANY}, **headers)
    assert (response.status, "set-cookie" in response.headers) == (403, False)
    assert not is_asked(guarded, cookie)


def test_a_browser_that_sends_only_its_origin_may_sign_in(guarded: Dashboard) -> None:
    origin = f"http://127.0.0.1:{guarded.port}"
    response = guarded.post("/sign-in", {"token": ANY}, sec_fetch_site="", origin=origin)
    assert response.status == 303


@pytest.mark.parametrize(
    "following",
    [
        "https://evil.example.com/",
        "//evil.example.com/",
        "/\\evil.example.com/",
        "/\t/evil.example.com",
        "\\\\evil.example.com",
        "javascript:alert(1)",
        "/path\\..\\x",
        "/a\r\nSet-Cookie: x=1",
        "evil",
        "",
        "/sign-in?next=/",
        "/sign-out",
        "//[",
    ],
)
def test_the_form_leads_to_no_other_server(guarded: Dashboard, following: str) -> None:
    assert local_path(following) == "/"
    response = guarded.post("/sign-in", {"token": ANY, "next": following})
    assert (response.status, response.headers["location"]) == (303, "/")
    cookie = cookie_of(response)
    again = guarded.get(f"/sign-in?next={quote(following, safe='')}", cookie=cookie)
    assert (again.status, again.headers["location"]) == (303, "/")


def test_many_wrong_tokens_of_an_address_must_wait_and_others_need_not(guarded: Dashboard) -> None:
    for _ in range(attempts.PER_ADDRESS):
        assert guarded.post("/sign-in", {"token": "wrong"}).status == 403
    response = guarded.post("/sign-in", {"token": ANY})
    assert (response.status, "set-cookie" in response.headers) == (429, False)
    assert 0 < int(response.headers["retry-after"]) <= attempts.PERIOD_SECONDS
    headers = [("sec-fetch-site", "same-origin")]
    body = f"token={ANY}".encode()
    other = guarded.send("/sign-in", "POST", headers, body=body, address="127.0.0.2")
    assert other.status == 303
    # A token that is sent with the request is not a guess at the form.
    assert guarded.get("/", authorization=f"Bearer {ANY}").status == 200


def test_wrong_tokens_are_limited_altogether_and_the_limit_ends() -> None:
    now = [1_000.0]
    limited = Attempts(lambda: now[0])
    for number in range(attempts.ALTOGETHER):
        assert limited.wait_seconds("10.9.9.9") == 0
        limited.note_failure(f"10.0.{number // 250}.{number % 250}")
    assert limited.wait_seconds("10.9.9.9") == 300
    now[0] += 299.5
    assert limited.wait_seconds("10.9.9.9") == 1
    now[0] += 0.5
    assert limited.wait_seconds("10.9.9.9") == 0


def test_addresses_of_one_ipv6_network_count_as_one() -> None:
    limited = Attempts()
    for number in range(attempts.PER_ADDRESS):
        limited.note_failure(f"2001:db8::{number:x}")
    assert limited.wait_seconds("2001:db8::ffff") > 0
    assert limited.wait_seconds("2001:db8:0:1::1") == 0
    # IPv4 addresses that IPv6 wraps are not one network.
    for _ in range(attempts.PER_ADDRESS):
        limited.note_failure("::ffff:192.0.2.1")
    assert limited.wait_seconds("::ffff:192.0.2.2") == 0


def test_a_form_that_is_too_large_begins_no_session(guarded: Dashboard) -> None:
    response = guarded.post("/sign-in", {"token": ANY, "padding": "x" * 9_000})
    assert (response.status, "set-cookie" in response.headers) == (403, False)


def test_without_tokens_there_is_nothing_to_sign_in_to(dashboard: Dashboard) -> None:
    response = dashboard.get("/sign-in?next=/calls")
    assert (response.status, response.headers["location"]) == (303, "/calls")
    assert dashboard.post("/sign-in", {"token": ANY}).status == 303


def test_plain_http_gets_no_hsts(guarded: Dashboard) -> None:
    assert "strict-transport-security" not in guarded.get("/sign-in").headers
