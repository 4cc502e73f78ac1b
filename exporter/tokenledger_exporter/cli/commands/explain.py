"""`tokenledger explain`: how the cost of one row was calculated."""

from __future__ import annotations

import json

import click

from tokenledger_exporter.cli.database import database_option, ledger_connection
from tokenledger_exporter.cli.exit_codes import FINDINGS, explained, fail


@click.command("explain", epilog="Example: tokenledger explain 01a20298-6851")
@click.argument("event_id")
@click.option(
    "--format",
    "shape",
    default="text",
    type=click.Choice(["text", "json"]),
    help="Output format.",
)
@click.option(
    "--show-sql", is_flag=True, help="Print the SQL with its values instead of the explanation."
)
@database_option
@explained
def command(*, event_id: str, shape: str, show_sql: bool, database_url: str | None) -> None:
    """Show how the cost of a call was calculated; exit 1 if the row does not match its price.

    EVENT_ID is an id that 'tokenledger calls' lists, or its first eight or more digits.
    """
    from tokenledger_exporter.db.shown_sql import collect_sql
    from tokenledger_exporter.queries.calls import event_id_of
    from tokenledger_exporter.queries.explain import as_document, as_text, explain_event
    from tokenledger_exporter.queries.report import SCHEMA_VERSION

    with ledger_connection(database_url) as connection, collect_sql() as statements:
        explanation = explain_event(connection, event_id_of(connection, event_id))
    if show_sql:
        click.echo("\n\n".join(statements))
        return
    if shape == "json":
        document = {"schema_version": SCHEMA_VERSION, **as_document(explanation)}
        click.echo(json.dumps(document, indent=2))
    else:
        click.echo(as_text(explanation), nl=False)
    if not explanation.agrees:
        fail(explanation.verdict, FINDINGS)
