"""Fixtures of all tests: a real Postgres, and a migrated database and a spool for each test."""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import TYPE_CHECKING

import certifi
import psycopg
import pytest
from psycopg import sql

from tokenledger_exporter.demo.sample_ledger import fill_sample_ledger
from tokenledger_exporter.embedded.postgres import temporary_postgres
from tokenledger_exporter.maintenance.install import migrate

if TYPE_CHECKING:
    from collections.abc import Generator

_numbers = itertools.count(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests that use the server as integration tests."""
    for item in items:
        if "postgres_server" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.integration)


@pytest.fixture(scope="session")
def one_certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CA bundle with one certificate; SDK clients need 38 ms to load the usual 140."""
    bundle = Path(certifi.where()).read_text(encoding="ascii", errors="ignore")
    end = "-----END CERTIFICATE-----\n"
    file = tmp_path_factory.mktemp("tls") / "one.pem"
    file.write_text(bundle[bundle.index("-----BEGIN") : bundle.index(end)] + end)
    return file


@pytest.fixture(autouse=True)
def own_environment(
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    one_certificate: Path,
) -> None:
    """Hide the machine's settings from tests, and put spools into the test's folder."""
    if "wheel" not in request.keywords:
        monkeypatch.setenv("SSL_CERT_FILE", str(one_certificate))
    for name in list(os.environ):
        if name.startswith(("TOKENLEDGER_", "OTEL_", "DATABASE_URL", "PG")) and not name.startswith(
            "TOKENLEDGER_TEST_"
        ):
            monkeypatch.delenv(name)
    monkeypatch.setenv("TOKENLEDGER_SPOOL_DIR", str(tmp_path / "spool"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture(scope="session")
def postgres_server() -> Generator[str]:
    """A server for the whole run; yields the URL of its maintenance database."""
    with temporary_postgres({"fsync": "off", "max_connections": "200"}) as url:
        yield url


@pytest.fixture(scope="session")
def migrated_template(postgres_server: str) -> str:
    """Name of a database with the ledger's schema, copied for each test."""
    name = "ledger_template"
    migrate(_create(postgres_server, name))
    return name


@pytest.fixture
def database_url(postgres_server: str, migrated_template: str) -> Generator[str]:
    """A migrated ledger for one test."""
    yield from _database(postgres_server, migrated_template)


@pytest.fixture(scope="session")
def sample_template(postgres_server: str, migrated_template: str) -> str:
    """Name of a database with 35 days of the sample ledger, copied for each test."""
    name = "sample_template"
    fill_sample_ledger(_create(postgres_server, name, migrated_template), days=35)
    return name


@pytest.fixture
def sample_copy(postgres_server: str, sample_template: str) -> Generator[str]:
    """The sample ledger for one test."""
    yield from _database(postgres_server, sample_template)


@pytest.fixture
def migrated_copy(postgres_server: str, migrated_template: str) -> Generator[str]:
    """A second ledger, for tests that need two."""
    yield from _database(postgres_server, migrated_template)


@pytest.fixture
def empty_database_url(postgres_server: str) -> Generator[str]:
    """A database without tables."""
    yield from _database(postgres_server, "template1")


def _database(server: str, template: str) -> Generator[str]:
    name = f"test_{next(_numbers)}"
    yield _create(server, name, template)
    _run(server, sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def _create(server: str, name: str, template: str = "template1") -> str:
    names = (sql.Identifier(name), sql.Identifier(template))
    _run(server, sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(*names))
    return server.rpartition("/")[0] + f"/{name}"


def _run(server: str, statement: sql.Composed) -> None:
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(statement)
