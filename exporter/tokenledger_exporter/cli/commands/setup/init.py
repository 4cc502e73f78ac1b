"""`tokenledger init`: write the settings of a database, and create the ledger's tables in it."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from tokenledger_exporter.cli.database import database_option
from tokenledger_exporter.cli.exit_codes import explained, say
from tokenledger_exporter.errors import InvalidRequestError
from tokenledger_semconv.settings import SettingsError, read_settings

if TYPE_CHECKING:
    from tokenledger_exporter.db.hosted import Host

_PLACES: Final = ("postgres", "supabase", "neon", "rds")
_VARIABLE: Final = "TOKENLEDGER_DATABASE_URL"
_DEFAULT_FILE: Final = ".env.tokenledger"
_NO_FILE: Final = "-"


@click.command("init", epilog="Example: tokenledger init neon --env-file .env.tokenledger")
@click.argument("place", type=click.Choice(_PLACES), required=False)
@click.option(
    "--env-file",
    metavar="FILE",
    help="Write the settings to this file, which must not exist; default: print export lines.",
)
@click.option("--migrate/--no-migrate", default=None, help="Create the ledger's tables, or do not.")
@database_option
@explained
def command(
    *, place: str | None, env_file: str | None, migrate: bool | None, database_url: str | None
) -> None:
    """Write the settings for a database at PLACE, and create the ledger's tables in it.

    In a terminal it asks for what is missing. In a pipe it asks nothing, and its output can be
    evaluated by a shell. An existing file is never changed, and a password is never printed.
    """
    from tokenledger_exporter.db.hosted import HOSTS, app_url, host_of

    asks = sys.stdin.isatty() and sys.stdout.isatty()
    try:
        url = read_settings({"database_url": database_url}).database_url or ""
    except SettingsError as error:
        raise InvalidRequestError(str(error)) from None
    if place is None and not url and asks:
        place = click.prompt("Where does Postgres run?", type=click.Choice(_PLACES))
    if not url and asks:
        say(f"Its URL has the form {HOSTS[place or 'postgres'].example}")
        url = click.prompt("Database URL (not shown)", hide_input=True)
    place = place or (host_of(url) if url else "postgres")
    host = HOSTS[place]
    if env_file is None and asks:
        env_file = click.prompt(f"File ({_NO_FILE} prints the lines)", default=_DEFAULT_FILE)
    file = None if env_file in {None, _NO_FILE} else Path(str(env_file))
    if url:
        url = app_url(url, place)
    _write(file, url or host.example, has_url=bool(url))
    _print_notes(host)
    if url and migrate is None and asks:
        migrate = click.confirm("Create the ledger's tables now?", default=True)
    if migrate and not url:
        raise InvalidRequestError(f"--migrate needs --database-url, or {_VARIABLE}")
    if migrate:
        _migrate(url, place)
    _print_next(host, url, place, file, is_migrated=bool(migrate))


def _write(file: Path | None, url: str, *, has_url: bool) -> None:
    """Write the settings to a new file that only its owner can read, or print them."""
    from tokenledger_exporter.db.hosted import without_password

    if file is None:
        shown, has_password = without_password(url) if has_url else (url, False)
        say(f"export {_VARIABLE}={shlex.quote(shown)}")
        if has_password:
            say("# The password is not printed: set PGPASSWORD to it, or put it into ~/.pgpass.")
        return
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise InvalidRequestError(
            f"{file} exists and was not changed; use another --env-file"
        ) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "invalid name"
        raise InvalidRequestError(f"cannot write {file}: {reason}") from None
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(f"{_VARIABLE}={_quoted(url)}\n")
    say(f"# wrote {file}, readable by you only; keep it out of version control")
    if not has_url:
        say("# replace the words in capitals in it")


def _quoted(url: str) -> str:
    """The value for shells and readers of .env files alike."""
    return shlex.quote(url if "://" not in url else url.replace("'", "%27"))


def _print_notes(host: Host) -> None:
    say(*(f"# {host.name}: {note}" for note in host.notes))


def _migrate(url: str, place: str) -> None:
    from tokenledger_exporter.db.hosted import migration_url
    from tokenledger_exporter.maintenance import install

    status = install.migrate(migration_url(url, place))
    say(f"# {status.sentence}")


def _print_next(host: Host, url: str, place: str, file: Path | None, *, is_migrated: bool) -> None:
    """Print what to run next, as comments."""
    from tokenledger_exporter.db.hosted import migration_url, without_password

    say("# Next:")
    if file is not None:
        name = str(file) if len(file.parts) > 1 else f"./{file}"
        say(f"#   set -a; . {shlex.quote(name)}; set +a")
    if not is_migrated:
        of_apps, of_migrations = (
            without_password(each)[0]
            for each in (url or host.example, migration_url(url or host.example, place))
        )
        option = f" --database-url {shlex.quote(of_migrations)}" if of_migrations != of_apps else ""
        say(f"#   tokenledger db migrate{option}")
        if host.editor:
            say(f"#   or paste the output of 'tokenledger db sql' into {host.editor}")
    say("#   tokenledger doctor")
