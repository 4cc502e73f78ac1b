"""The command group, its exit codes, and where it finds a database."""

from __future__ import annotations

import functools
import sys
from contextlib import contextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING, Final, NoReturn

import click

from tokenledger_exporter.errors import DatabaseUnreachableError, LedgerError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from typing_extensions import ParamSpec

    P = ParamSpec("P")

OK: Final = 0
FINDINGS: Final = 1
USAGE: Final = 2
UNREACHABLE: Final = 3


@click.group(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.version_option(version("tokenledger-otel"), prog_name="tokenledger")
def main() -> None:
    """What your LLM features cost, from your own Postgres."""


def fail(message: str, code: int) -> NoReturn:
    """Say what is wrong on standard error and end with an exit code."""
    click.echo(f"tokenledger: {message}", err=True)
    sys.exit(code)


def explained(command: Callable[P, None]) -> Callable[P, None]:
    """Turn the ledger's errors into one line and the right exit code."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except UsageError as error:
            fail(str(error), USAGE)
        except DatabaseUnreachableError as error:
            fail(str(error), UNREACHABLE)
        except LedgerError as error:
            fail(str(error), FINDINGS)

    return run


def database_option(command: Callable[P, None]) -> Callable[P, None]:
    """Add `--database-url` to a command."""
    return click.option(
        "--database-url",
        metavar="URL",
        help="Postgres to use; else TOKENLEDGER_DATABASE_URL, DATABASE_URL, the embedded one.",
    )(command)


@contextmanager
def open_database(database_url: str | None) -> Generator[str]:
    """The connection string to use; starts the embedded Postgres where none is set."""
    from tokenledger_semconv.settings import SettingsError, read_settings

    try:
        url = read_settings({"database_url": database_url}).database_url
    except SettingsError as error:
        raise UsageError(str(error)) from None
    if url:
        yield url
        return
    from tokenledger_exporter.embedded_postgres import EmbeddedPostgres, default_home

    with EmbeddedPostgres(default_home()) as server:
        click.echo(
            f"no database URL is set: using the embedded Postgres in {server.home}", err=True
        )
        yield server.database_url


def _load_commands() -> None:
    """Commands register themselves with `main` when their module loads."""
    from tokenledger_exporter.cli import db, doctor, report, spool

    for module in (db, doctor, report, spool):
        main.add_command(module.command)


_load_commands()
