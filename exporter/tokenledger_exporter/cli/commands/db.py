"""`tokenledger db`: bring a database to this release's schema and say how far it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tokenledger_exporter.cli.database import database_option, open_database
from tokenledger_exporter.cli.exit_codes import FINDINGS, explained, fail, say

if TYPE_CHECKING:
    from tokenledger_exporter.db.migrations import SchemaStatus


class _Aliased(click.Group):
    """Accepts the older tracker's names of the same commands."""

    _ALIASES = {"init": "migrate", "upgrade": "migrate", "current": "status", "history": "status"}  # noqa: RUF012 - a constant of the class

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return super().get_command(ctx, self._ALIASES.get(cmd_name, cmd_name))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        _, command, rest = super().resolve_command(ctx, args)
        return (command.name if command else None), command, rest


@click.group("db", cls=_Aliased)
def command() -> None:
    """Make and check the ledger's tables (aliases: init, upgrade, current, history)."""


@command.command()
@database_option
@explained
def migrate(database_url: str | None) -> None:
    """Make or update the tables and load the price book; safe to run again."""
    from tokenledger_exporter.db import migrations
    from tokenledger_exporter.db.connection import session
    from tokenledger_exporter.doctor import database_setup
    from tokenledger_exporter.maintenance import install

    with open_database(database_url) as url:
        status = install.migrate(url)
        with session(url) as connection:
            warnings = database_setup.warnings(connection)
    _say(status)
    for warning in warnings:
        say(f"tokenledger: warning: {warning}", err=True)
    if status.older_kept:
        say(
            "an older tracker's table is kept as token_ledger_events_v0; copy its rows into the "
            f"ledger with '{migrations.IMPORT_HINT}'",
            err=True,
        )


@command.command()
@database_option
@explained
def status(database_url: str | None) -> None:
    """Say which migrations have run; exit 1 if the schema is not this release's."""
    from tokenledger_exporter.db import migrations

    with open_database(database_url) as url:
        found = migrations.status(url)
    _say(found)
    if not found.is_current:
        fail(found.sentence, FINDINGS)


@command.command("sql")
@explained
def print_script() -> None:
    """Print everything as one script for a SQL editor (Supabase and the like)."""
    from tokenledger_exporter.maintenance import install

    click.echo(install.install_script(), nl=False)


@command.command("roles")
@click.option("--prefix", default="tokenledger", help="What the roles' names begin with.")
@click.option("--sql", "only_print", is_flag=True, help="Print the statements and run nothing.")
@click.option("--reader", metavar="NAME", help="Bind this login or role, and make no role.")
@click.option(
    "--organization",
    "organizations",
    multiple=True,
    metavar="ORG",
    help="What --reader may see; again for more, and beside what it may see already.",
)
@click.option("--all", "to_all", is_flag=True, help="Let --reader see every organization.")
@database_option
@explained
def make_roles(  # noqa: PLR0913 - one argument an option
    *,
    prefix: str,
    only_print: bool,
    reader: str | None,
    organizations: tuple[str, ...],
    to_all: bool,
    database_url: str | None,
) -> None:
    """Make the roles writer, keeper and reader with their grants; again after every migration.

    From then on rows are shown by row-level security to everybody but the tables' owner. A reader
    sees nothing until it is bound: with --reader and --organization, or --all.
    """
    from tokenledger_exporter.db import roles
    from tokenledger_exporter.errors import InvalidRequestError

    if bool(reader) != bool(organizations or to_all) or (organizations and to_all):
        raise InvalidRequestError(
            "a reader is bound to organizations or to all: give --reader, and --organization or "
            "--all"
        )
    if reader:
        with open_database(database_url) as url:
            bound = roles.bind_reader(url, reader, organizations, to_all=to_all)
        say(bound.sentence)
        return
    if only_print:
        click.echo(roles.script(prefix), nl=False)
        return
    with open_database(database_url) as url:
        names = roles.create_roles(url, prefix)
    say(f"{', '.join(names)} are ready: CREATE ROLE app LOGIN PASSWORD '...' IN ROLE {names[0]}")


@command.command("import-v0")
@database_option
@explained
def import_older(database_url: str | None) -> None:
    """Copy the rows of an older tracker's table (token_ledger_events_v0); safe to run again."""
    from tokenledger_exporter.importers.tokenledger_v0 import import_older_rows

    with open_database(database_url) as url:
        done = import_older_rows(url)
    say(f"{done.copied} rows copied from token_ledger_events_v0")
    if done.rejected:
        say(
            f"{done.rejected} rows from before 2015 or from the future were not copied: they "
            "are in token_ledger_rejected",
            err=True,
        )


def _say(found: SchemaStatus) -> None:
    for migration in found.applied:
        say(f"{migration.name}  applied {migration.applied_at:%Y-%m-%d %H:%M:%S%z}")
    if found.is_current:
        say(found.sentence)
