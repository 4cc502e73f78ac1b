"""Connection strings: the ledger they identify, and no secrets in messages."""

from __future__ import annotations

import pytest

from tokenledger_exporter.db.connection import connect, describe, fingerprint
from tokenledger_exporter.errors import DatabaseUnreachableError


@pytest.mark.parametrize("password", ["CANARY/pw", "CAN@CANARY", "a:CANARY@b", "CANARY#x"])
def test_a_password_that_was_not_percent_encoded_is_not_shown(password: str) -> None:
    url = f"postgresql://app:{password}@127.0.0.1:1/prod"
    assert "CANARY" not in describe(url)
    with pytest.raises(DatabaseUnreachableError) as caught:
        connect(url)
    assert "CANARY" not in str(caught.value)


def test_a_well_formed_string_is_described_by_host_port_and_database() -> None:
    assert describe("postgresql://u:p@db.example:6543/prod?sslmode=require") == (
        "db.example:6543/prod"
    )


@pytest.mark.parametrize("option", ["connect_timeout=soon", "nonsense=1"])
def test_an_option_that_libpq_refuses_is_reported_as_unreachable(option: str) -> None:
    with pytest.raises(DatabaseUnreachableError):
        connect(f"postgresql://u@127.0.0.1:1/db?{option}")


def test_a_url_of_another_server_database_user_or_schema_is_another_ledger(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    base = "postgresql://u:p@h/db"
    seen = {fingerprint(base)}
    for other in (
        "postgresql://u:p@h/db?options=-csearch_path%3Dtenant_a",
        "postgresql://u:p@h/db?options=-csearch_path%3Dtenant_b",
        "postgresql://u:p@h:5433/db",
        "postgresql://u2:p@h/db",
        "service=prod",
        "service=staging",
    ):
        assert fingerprint(other) not in seen
        seen.add(fingerprint(other))
    bare = fingerprint("dbname=db")
    monkeypatch.setenv("PGHOST", "elsewhere")
    assert fingerprint("dbname=db") != bare


def test_a_new_password_is_the_same_ledger() -> None:
    assert fingerprint("postgresql://u:old@h/db") == fingerprint("postgresql://u:new@h/db")
