"""One service and one ledger for the tests of a module."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg import sql

from support.otlp_service import serving

if TYPE_CHECKING:
    from collections.abc import Generator

    from support.otlp_service import Running


@pytest.fixture(scope="module")
def ledger_url(
    postgres_server: str, migrated_template: str, request: pytest.FixtureRequest
) -> Generator[str]:
    """A migrated ledger for this module only."""
    name = f"served_{request.path.stem}"
    names = sql.Identifier(name), sql.Identifier(migrated_template)
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(*names))
        yield f"{postgres_server.rpartition('/')[0]}/{name}"
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(names[0]))


@pytest.fixture(scope="module")
def service(ledger_url: str) -> Generator[Running]:
    """A service with default options and gRPC."""
    with serving(ledger_url, grpc=True) as running:
        yield running
