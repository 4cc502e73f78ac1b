"""`tokenledger mcp`: the ledger as tools of a coding agent."""

from __future__ import annotations

import click

from tokenledger_exporter.cli.database import database_option, open_database
from tokenledger_exporter.cli.exit_codes import explained
from tokenledger_exporter.errors import InvalidRequestError


@click.command("mcp", epilog="Example: tokenledger mcp --organization acme")
@click.option(
    "--organization",
    default="",
    metavar="NAME",
    help="Show only the calls of this organization; needs a login of the role tokenledger_reader.",
)
@click.option(
    "--timeout",
    "timeout_seconds",
    default=10.0,
    type=click.FloatRange(min=0.1, max=600),
    help="Longest time of a statement, in seconds.",
)
@database_option
@explained
def command(*, organization: str, timeout_seconds: float, database_url: str | None) -> None:
    """Answer the questions of a coding agent over MCP, on standard input and output; read-only.

    An agent starts this command itself; the guide "Coding agents" says how to set it up.
    """
    try:
        from tokenledger_exporter.mcp_server.stdio import run
    except ModuleNotFoundError as error:
        raise InvalidRequestError(
            f"the MCP server needs {error.name}: pip install 'tokenledger-otel[mcp]'"
        ) from None
    with open_database(database_url) as url:
        run(url, organization, timeout_seconds=timeout_seconds)
