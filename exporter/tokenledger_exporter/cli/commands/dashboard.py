"""`tokenledger dashboard`: the pages and the JSON API of the ledger."""

from __future__ import annotations

import click

from tokenledger_exporter.cli.database import database_option, open_database
from tokenledger_exporter.cli.exit_codes import explained, say
from tokenledger_exporter.errors import InvalidRequestError

_PREFIX = "TOKENLEDGER_DASHBOARD_"


@click.command("dashboard", epilog="Example: tokenledger dashboard --port 8765")
@click.option("--host", default="127.0.0.1", envvar=f"{_PREFIX}HOST", help="Address to listen on.")
@click.option("--port", default=8765, envvar=f"{_PREFIX}PORT", help="Port; 0 is any free one.")
@click.option(
    "--tokens-file",
    default="",
    metavar="FILE",
    envvar=f"{_PREFIX}TOKENS_FILE",
    help="File of allowed tokens, with lines organization:sha256; required unless --host is this "
    "machine.",
)
@click.option(
    "--server-name",
    "server_names",
    multiple=True,
    metavar="NAME",
    help="Allowed Host header, in addition to IP addresses and localhost; checked if no tokens are "
    "required.",
)
@database_option
@explained
def command(
    *,
    host: str,
    port: int,
    tokens_file: str,
    server_names: tuple[str, ...],
    database_url: str | None,
) -> None:
    """Serve pages and a JSON API of the ledger's costs, read-only; Ctrl-C ends it.

    'tokenledger serve --new-token ORGANIZATION' makes a token. /api/v1/openapi.json describes the
    API.
    """
    try:
        from tokenledger_exporter.web.options import DashboardOptions
        from tokenledger_exporter.web.run import run
    except ModuleNotFoundError as error:
        raise InvalidRequestError(
            f"the dashboard needs {error.name}: pip install 'tokenledger-otel[dashboard]'"
        ) from None
    with open_database(database_url) as url:
        options = DashboardOptions(
            database_url=url,
            host=host,
            port=port,
            tokens_file=tokens_file,
            server_names=server_names,
        )
        run(options, lambda address: say(f"the dashboard is at {address}/"))
