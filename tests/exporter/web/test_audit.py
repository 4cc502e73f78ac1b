"""Who looked at which person is in the ledger, for its owner, without names of erased people."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg import errors as pg_errors
from psycopg.conninfo import make_conninfo

from support.ledger_rows import ask
from tokenledger_exporter.access.tokens import new_token, token_hash, token_line
from tokenledger_exporter.maintenance.erase import erase
from tokenledger_exporter.web.audit import views_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.dashboard import Dashboard

ANY, ACME = new_token(), new_token()
TOKENS = f"{token_line('*', ANY)},{token_line('acme', ACME)}"
ALL = (
    "SELECT viewer_kind, viewer, organization_id, page, dimension, value"
    " FROM token_ledger_person_views ORDER BY viewed_at, dimension, value"
)
CALL = "SELECT token_ledger_audit_view('token', 'me', '', '/calls', 'user', "


def bearer(token: str) -> str:
    return f"Bearer {token}"


@pytest.mark.parametrize(
    ("values", "views"),
    [
        ({}, []),
        ({"where": ["team=ml", "model=gpt-4o"]}, []),
        ({"where": ["user=ann"]}, [("user", "ann")]),
        ({"run_id": "abc", "kind": "trace"}, [("trace", "abc")]),
        ({"run_id": "abc", "kind": "session"}, [("session", "abc")]),
        (
            {"where": ["user_id=ann", "user_id=ann", " user_id = bob"]},
            [("user", "ann"), ("user", "bob")],
        ),
        ({"where": ["session=s1", "session=s2"]}, [("session", "s1"), ("session", "s2")]),
        ({"where": ["user=a=b", "user="]}, [("user", "a=b"), ("user", "")]),
        ({"user_id": "ann", "where": None}, [("user", "ann")]),
        ({"user": "ann", "user_id": None}, [("user", "ann")]),
        ({"event_id": "0123abcd"}, [("call", "0123abcd")]),
        ({"trace_id": "0af7", "session_id": "s"}, [("session", "s"), ("trace", "0af7")]),
    ],
)
def test_what_counts_as_looking_at_a_person(
    values: dict[str, Any], views: list[tuple[str, str]]
) -> None:
    assert [tuple(view) for view in views_of(values)] == views


def test_each_view_of_a_person_is_logged_with_its_viewer(
    opened: Callable[..., Dashboard], filled_url: str, reader_url: str
) -> None:
    dashboard = opened(database_url=reader_url, tokens=TOKENS)
    [(event_id,)] = ask(
        filled_url, "SELECT event_id FROM token_ledger_events WHERE model = 'gpt-4o'"
    )
    for path, token in (
        ("/api/v1/summary", ANY),
        ("/explore?by=user", ANY),
        ("/api/v1/summary?user_id=ann", ANY),
        ("/calls?where=user%3Dann&where=team%3Dml", ACME),
        ("/calls?where=user%3Dann&where=team%3Dweb", ACME),
        (f"/calls/{event_id}", ACME),
    ):
        assert dashboard.get(path, authorization=bearer(token)).status == 200, path
    any_token, acme = token_hash(ANY)[:12], token_hash(ACME)[:12]
    # The second view of the same person on the same page in a minute is none of its own.
    rows = ask(filled_url, ALL)
    assert rows[0] == ("token", any_token, "", "/api/v1/summary", "user", "ann")
    assert set(rows[1:]) == {
        ("token", acme, "acme", "/calls", "user", "ann"),
        ("token", acme, "acme", "/calls/{event_id}", "call", str(event_id)),
    }
    [(login,)] = ask(filled_url, "SELECT DISTINCT login FROM token_ledger_person_views")
    assert login == f"w{os.getpid()}_dashboard"


def test_the_user_of_a_proxy_is_named(opened: Callable[..., Dashboard], filled_url: str) -> None:
    dashboard = opened(proxy_addresses=("127.0.0.1",), proxy_user_header="X-User")
    name = "ليلى حداد"
    headers = [("X-User", name), ("Host", "localhost")]
    for path in ("/calls?where=user%3Dann", "/calls?where=user%3D%00"):
        dashboard.send(path, "GET", [(key, value) for key, value in headers])
    [(kind, viewer, *_), (*_, odd)] = ask(filled_url, ALL)
    assert (kind, viewer) == ("proxy user", name)
    assert odd == "'\\x00'"


def test_a_view_that_cannot_be_logged_is_not_shown(
    opened: Callable[..., Dashboard], filled_url: str, reader_url: str
) -> None:
    function = "token_ledger_audit_view(text, text, text, text, text, text)"
    with psycopg.connect(filled_url) as connection:
        connection.execute(f"ALTER FUNCTION {function} RENAME TO away".encode())
    dashboard = opened(database_url=reader_url, tokens=TOKENS)
    path = "/calls?where=user%3Dann"
    response = dashboard.get(path, authorization=bearer(ACME))
    assert response.status == 503
    assert "could not be logged" in response.body.decode()
    assert "run &#39;tokenledger db migrate&#39;" in response.body.decode()
    assert dashboard.get("/calls", authorization=bearer(ACME)).status == 200


def test_the_error_for_a_login_of_an_earlier_release_names_the_remedy(
    opened: Callable[..., Dashboard], filled_url: str, reader_url: str
) -> None:
    function = "token_ledger_audit_view(text, text, text, text, text, text)"
    with psycopg.connect(filled_url) as connection:
        connection.execute(f"REVOKE ALL ON FUNCTION {function} FROM w{os.getpid()}_reader".encode())
    dashboard = opened(database_url=reader_url, tokens=TOKENS)
    response = dashboard.get("/api/v1/summary?user_id=ann", authorization=bearer(ACME))
    assert response.status == 503
    assert "run 'tokenledger db roles' again" in response.json()["detail"]


def test_on_this_machine_it_is_shown_and_the_log_says_so(
    opened: Callable[..., Dashboard], filled_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    with psycopg.connect(filled_url) as connection:
        connection.execute(b"DROP TABLE token_ledger_person_views")
    assert opened().get("/calls?where=user%3Dann").status == 200
    assert "who looked at a person was not logged" in caplog.text


def test_the_reader_can_add_and_neither_read_nor_change(reader_url: str) -> None:
    with psycopg.connect(reader_url, autocommit=True) as connection:
        connection.execute(f"{CALL} 'ann')".encode())
        for statement in (
            "SELECT * FROM token_ledger_person_views",
            "INSERT INTO token_ledger_person_views DEFAULT VALUES",
            "UPDATE token_ledger_person_views SET viewer = ''",
            "DELETE FROM token_ledger_person_views",
            "TRUNCATE token_ledger_person_views",
            "SELECT token_ledger_erase_views('me', 'x')",
            "SELECT token_ledger_pseudonym_of('ann')",
        ):
            with pytest.raises(pg_errors.InsufficientPrivilege):
                connection.execute(statement.encode())


def test_a_keeper_cannot_change_the_trail_without_an_erasure(
    filled_url: str, reader_url: str
) -> None:
    prefix = f"w{os.getpid()}"
    with psycopg.connect(filled_url) as connection:
        connection.execute(f"GRANT {prefix}_keeper TO {prefix}_dashboard".encode())
    with psycopg.connect(reader_url, autocommit=True) as connection:
        connection.execute(f"{CALL} 'ann')".encode())
        with pytest.raises(pg_errors.InsufficientPrivilege, match="not erased"):
            connection.execute(b"SELECT token_ledger_erase_views('me', 'someone else')")
        with pytest.raises(pg_errors.InsufficientPrivilege):
            connection.execute(b"SELECT * FROM token_ledger_person_views")
    # A keeper erases a person, and so their name, also as the one who looked.
    assert erase(reader_url, "ann").views == 1
    with psycopg.connect(filled_url) as connection:
        connection.execute(f"REVOKE {prefix}_keeper FROM {prefix}_dashboard".encode())


def test_the_name_of_an_erased_person_disappears_and_does_not_return(
    filled_url: str, reader_url: str
) -> None:
    with psycopg.connect(reader_url, autocommit=True) as connection:
        for value in ("ann", "bob"):
            connection.execute(f"{CALL} '{value}')".encode())
        connection.execute(
            b"SELECT token_ledger_audit_view('proxy user', 'ann', '', '/calls', 'user', 'bob')"
        )
        result = erase(filled_url, "ann")
        assert result.views == 2
        connection.execute(
            b"SELECT token_ledger_audit_view('proxy user', 'ann', '', '/', 'user', 'ann')"
        )
    rows = ask(filled_url, "SELECT viewer, value FROM token_ledger_person_views ORDER BY viewed_at")
    name = result.pseudonym
    assert rows == [("me", name), ("me", "bob"), (name, "bob"), (name, name)]


def test_a_viewer_cannot_hide_a_view_behind_many_others(filled_url: str, reader_url: str) -> None:
    with psycopg.connect(filled_url) as connection:
        connection.execute(
            b"INSERT INTO token_ledger_person_views"
            b" (viewed_at, login, viewer_kind, viewer, organization_id, page, dimension, value)"
            b" SELECT now() - interval '1 hour', 'd', 'token', 'me', '', '/calls', 'user', n::text"
            b" FROM generate_series(1, 5000) AS n"
        )
    with psycopg.connect(reader_url, autocommit=True) as connection:
        with pytest.raises(pg_errors.RaiseException, match="5,000 persons"):
            connection.execute(f"{CALL} 'ann')".encode())
        connection.execute(CALL.replace("'me'", "'other'").encode() + b" 'ann')")


def test_entries_are_short_and_end_after_400_days(filled_url: str, reader_url: str) -> None:
    with psycopg.connect(filled_url) as connection:
        connection.execute(
            b"INSERT INTO token_ledger_person_views"
            b" (viewed_at, login, viewer_kind, viewer, organization_id, page, dimension, value)"
            b" VALUES (now() - interval '401 days', 'd', 'token', 'old', '', '/', 'user', 'x')"
        )
    with psycopg.connect(make_conninfo(reader_url), autocommit=True) as connection:
        connection.execute(f"{CALL} repeat('x', 100000))".encode())
    rows = ask(filled_url, "SELECT viewer, length(value) FROM token_ledger_person_views")
    assert rows == [("me", 255)]
