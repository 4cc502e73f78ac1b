"""`tokenledger db`: create, migrate and check the ledger's schema."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tokenledger_exporter.cli.database import database_option, open_database
from tokenledger_exporter.cli.exit_codes import FINDINGS, explained, fail, say, warn
from tokenledger_exporter.cli.progress import Progress
from tokenledger_exporter.plain_text import counted

if TYPE_CHECKING:
    from tokenledger_exporter.db.migrations import SchemaStatus


_NEXT = (
    "  an unchanged app   opentelemetry-instrument --traces_exporter tokenledger \\",
    "                         --metrics_exporter none --logs_exporter none python app.py",
    "  in code            tokenledger.configure(); tokenledger.patch_openai()",
    "  other languages    tokenledger serve",
    "  is all in place?   tokenledger doctor",
)


class _Aliased(click.Group):
    """Accept the command names of TokenLedger 0.1."""

    _ALIASES = {"init": "migrate", "upgrade": "migrate", "current": "status", "history": "status"}  # noqa: RUF012 - a class constant

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return super().get_command(ctx, self._ALIASES.get(cmd_name, cmd_name))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        _, command, rest = super().resolve_command(ctx, args)
        return (command.name if command else None), command, rest


@click.group("db", cls=_Aliased, epilog="Example: tokenledger db migrate")
def command() -> None:
    """Create and check the ledger's tables (aliases: init, upgrade, current, history)."""


@command.command(epilog="Example: tokenledger db migrate")
@database_option
@explained
def migrate(database_url: str | None) -> None:
    """Create or update the tables and load list prices; prints nothing if that was done before."""
    from tokenledger_exporter.db import migrations
    from tokenledger_exporter.db.connection import session
    from tokenledger_exporter.doctor import database_setup
    from tokenledger_exporter.importers.tokenledger_v0 import import_notice
    from tokenledger_exporter.maintenance import install

    with open_database(database_url) as url:
        before = migrations.status(url)
        status = install.migrate(url)
        with session(url) as connection:
            warnings = database_setup.warnings(connection)
            older = import_notice(connection) if status.older_renamed else ""
    done = [name for name in before.missing if name not in status.missing]
    for name in done:
        say(f"{name}  applied")
    for warning in warnings:
        warn(f"warning: {warning}")
    if older:
        warn(older)
    if done:
        say(f"{status.sentence}; next: record calls, then 'tokenledger report'", *_NEXT)


@command.command(epilog="Example: tokenledger db status")
@database_option
@explained
def status(database_url: str | None) -> None:
    """List the applied migrations; exit 1 if the schema does not match this release."""
    from tokenledger_exporter.db import migrations

    with open_database(database_url) as url:
        schema = migrations.status(url)
    _say(schema)
    if not schema.is_current:
        fail(schema.sentence, FINDINGS)


@command.command("sql", epilog="Example: tokenledger db sql > ledger.sql")
@explained
def print_script() -> None:
    """Print the schema and the list prices as one script for a SQL editor, such as Supabase's."""
    from tokenledger_exporter.maintenance import install

    click.echo(install.install_script(), nl=False)


@command.command("roles", epilog="Example: tokenledger db roles --prefix tokenledger")
@click.option("--prefix", default="tokenledger", help="Prefix of the role names.")
@click.option("--sql", "only_print", is_flag=True, help="Print the SQL without running it.")
@click.option(
    "--reader",
    metavar="NAME",
    help="Give this role access to the organizations instead of creating roles.",
)
@click.option(
    "--organization",
    "organizations",
    multiple=True,
    metavar="ORG",
    help="Organization whose calls the reader may see; repeatable; adds to existing grants.",
)
@click.option("--all", "to_all", is_flag=True, help="Let the reader see every organization.")
@database_option
@explained
def make_roles(  # noqa: PLR0913 - one argument per option
    *,
    prefix: str,
    only_print: bool,
    reader: str | None,
    organizations: tuple[str, ...],
    to_all: bool,
    database_url: str | None,
) -> None:
    """Create the roles writer, keeper and reader; run it again after every migration.

    It enables row-level security, which applies to every role except the tables' owner. A reader
    sees no rows until it is bound: use --reader with --organization, or with --all.
    """
    from tokenledger_exporter.db import roles
    from tokenledger_exporter.errors import InvalidRequestError

    if bool(reader) != bool(organizations or to_all) or (organizations and to_all):
        raise InvalidRequestError(
            "--reader needs either --organization or --all, and neither works without --reader"
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
    say(
        f"roles {', '.join(names)} are ready; next: "
        f"CREATE ROLE app LOGIN PASSWORD '...' IN ROLE {names[0]}"
    )


@command.command("import-v0", epilog="Example: tokenledger db import-v0")
@database_option
@explained
def import_older(database_url: str | None) -> None:
    """Copy the rows of TokenLedger 0.1 (token_ledger_events_v0); safe to run again."""
    from tokenledger_exporter.importers.tokenledger_v0 import import_older_rows

    with open_database(database_url) as url, Progress("copying rows"):
        counts = import_older_rows(url)
    say(f"copied {counted(counts.copied, 'row')} from token_ledger_events_v0")
    if counts.rejected:
        rejected = counted(counts.rejected, "row")
        warn(
            f"not copied, because they are dated before 2015 or in the future: {rejected}; see "
            "token_ledger_rejected"
        )


def _say(schema: SchemaStatus) -> None:
    for migration in schema.applied:
        say(f"{migration.name}  applied {migration.applied_at:%Y-%m-%d %H:%M:%S%z}")
    if schema.is_current:
        say(schema.sentence)
