"""A script or notebook without a database: `embedded=True`."""

from __future__ import annotations

import re

import pytest

from support.embedded_script import run_script

pytestmark = pytest.mark.integration


def test_a_script_without_a_database_records_and_reads_its_calls() -> None:
    done = run_script("true")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "0.0035\n"
    address = re.search(r"embedded Postgres at 127\.0\.0\.1:\d+/tokenledger", done.stderr)
    assert address is not None, done.stderr
    assert "stops with this process" in done.stderr


def test_a_server_refuses_to_start_a_database() -> None:
    done = run_script("true", "/usr/bin/gunicorn")
    assert done.returncode != 0
    assert "embedded is for scripts and notebooks, not for gunicorn" in done.stderr


def test_without_the_option_no_database_is_started() -> None:
    done = run_script("false")
    assert done.returncode != 0
    assert "no database URL" in done.stderr
