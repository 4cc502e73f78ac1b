"""Where a command finds its database."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from tokenledger_exporter.cli.exit_codes import say
from tokenledger_exporter.errors import InvalidRequestError
from tokenledger_semconv.settings import SettingsError, read_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    import psycopg
    from typing_extensions import ParamSpec

    P = ParamSpec("P")


def database_option(command: Callable[P, None]) -> Callable[P, None]:
    """Add `--database-url` to a command."""
    return click.option(
        "--database-url",
        metavar="URL",
        help="Postgres URL; default: TOKENLEDGER_DATABASE_URL, DATABASE_URL or embedded Postgres.",
    )(command)


def format_option(command: Callable[P, None]) -> Callable[P, None]:
    """Add `--format` to a command that prints rows."""
    shapes = click.Choice(["table", "json", "csv"])
    return click.option("--format", "shape", default="table", type=shapes, help="Output format.")(
        command
    )


@contextmanager
def ledger_connection(database_url: str | None) -> Generator[psycopg.Connection[Any]]:
    """Connect to the database and commit at the end."""
    from tokenledger_exporter.db.connection import session

    with open_database(database_url) as url, session(url) as connection:
        yield connection


def configured_url(database_url: str | None) -> str:
    """The connection string that an option or the environment sets; "" if none does."""
    try:
        return read_settings({"database_url": database_url}).database_url
    except SettingsError as error:
        raise InvalidRequestError(str(error)) from None


@contextmanager
def open_database(database_url: str | None) -> Generator[str]:
    """The connection string to use; starts the embedded Postgres if none is set."""
    if url := configured_url(database_url):
        yield url
        return
    from tokenledger_exporter.embedded.postgres import EmbeddedPostgres, default_home

    with EmbeddedPostgres(default_home()) as server:
        say(f"no database URL is set: using the embedded Postgres in {server.home}", err=True)
        yield server.database_url
