"""`tokenledger dashboard`: the pages and the JSON API of the ledger."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from tokenledger_exporter.cli.database import configured_url, database_option, open_database
from tokenledger_exporter.cli.exit_codes import explained, say, warn
from tokenledger_exporter.cli.mounted_mcp import mounted_mcp
from tokenledger_exporter.errors import InvalidRequestError, SchemaError

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from tokenledger_exporter.web.mounted import Mount

_PREFIX = "TOKENLEDGER_DASHBOARD_"


@click.command("dashboard", epilog="Example: tokenledger dashboard --port 8765")
@click.option("--host", default="127.0.0.1", envvar=f"{_PREFIX}HOST", help="Address to listen on.")
@click.option("--port", default=8765, envvar=f"{_PREFIX}PORT", help="Port; 0 is any free one.")
@click.option(
    "--published-on",
    default="",
    metavar="ADDRESS",
    envvar=f"{_PREFIX}PUBLISHED_ON",
    help="In a container: the address at which its port is published. Unless that is this machine, "
    "viewers must say who they are.",
)
@click.option(
    "--tokens-file",
    default="",
    metavar="FILE",
    envvar=f"{_PREFIX}TOKENS_FILE",
    help="File of allowed tokens, with lines organization:sha256. Unless --host is this machine, "
    "this or --proxy-user-header is required.",
)
@click.option(
    "--server-name",
    "server_names",
    multiple=True,
    metavar="NAME",
    envvar=f"{_PREFIX}SERVER_NAME",
    help="Allowed Host header, in addition to IP addresses and localhost; checked if no tokens are "
    "required.",
)
@click.option(
    "--proxy-user-header",
    default="",
    metavar="HEADER",
    envvar=f"{_PREFIX}PROXY_USER_HEADER",
    help="Header in which a proxy names the user it signed in, such as X-Forwarded-User; believed "
    "from --proxy-address alone.",
)
@click.option(
    "--proxy-organization-header",
    default="",
    metavar="HEADER",
    envvar=f"{_PREFIX}PROXY_ORGANIZATION_HEADER",
    help="Header in which it names the only organization that the user may see; * is every one.",
)
@click.option(
    "--proxy-address",
    "proxy_address",
    default="",
    metavar="ADDRESS,...",
    envvar=f"{_PREFIX}PROXY_ADDRESS",
    help="Addresses or networks of the proxy, such as 10.0.0.5 or 10.0.0.0/24.",
)
@click.option(
    "--session-hours",
    default=12.0,
    envvar=f"{_PREFIX}SESSION_HOURS",
    help="How long a browser stays signed in.",
)
@click.option(
    "--session-key-file",
    default="",
    metavar="FILE",
    envvar=f"{_PREFIX}SESSION_KEY_FILE",
    help="File with the key that signs sessions; without it, sessions end with the process.",
)
@click.option(
    "--mcp",
    "has_mcp",
    is_flag=True,
    envvar=f"{_PREFIX}MCP",
    help="Also answer coding agents at /mcp (Model Context Protocol), as 'tokenledger mcp' does.",
)
@click.option(
    "--sample",
    "is_sample",
    is_flag=True,
    help="Show sample data in a temporary Postgres, as without any ledger.",
)
@click.option(
    "--trace-url",
    default="",
    metavar="URL",
    envvar=f"{_PREFIX}TRACE_URL",
    help="Where your tracing system shows a trace, for links from calls: "
    "https://jaeger.example/trace/{trace_id}.",
)
@database_option
@explained
def command(
    *,
    is_sample: bool,
    has_mcp: bool,
    database_url: str | None,
    **arguments: Any,  # noqa: ANN401 - the options of DashboardOptions
) -> None:
    """Serve pages and a JSON API of the ledger's costs, read-only; Ctrl-C ends it.

    Without a ledger it shows sample data. 'tokenledger serve --new-token ORGANIZATION' makes a
    token. /api/v1/openapi.json describes the API.
    """
    try:
        from tokenledger_exporter.web.options import DashboardOptions
        from tokenledger_exporter.web.run import listen, run
    except ModuleNotFoundError as error:
        raise InvalidRequestError(
            f"the dashboard needs {error.name}: pip install 'tokenledger-otel[dashboard]'"
        ) from None
    # A wrong option or a port in use is an error before sample data is made, which takes seconds.
    options = DashboardOptions(database_url="", **web_arguments(arguments))
    with (
        listen(options) as listener,
        _open_ledger(database_url, is_sample=is_sample) as (url, notice),
    ):
        run(
            replace(options, database_url=url, notice=notice),
            lambda address: say(f"the dashboard is at {address}/"),
            mounts(has_mcp=has_mcp),
            listener,
        )


def mounts(*, has_mcp: bool) -> tuple[Mount, ...]:
    """What else the service of the dashboard answers."""
    return (mounted_mcp,) if has_mcp else ()


def web_arguments(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The values of the command's options as arguments of `DashboardOptions`.

    Args:
        arguments: the values, without those that choose the ledger.
    """
    values = {**arguments, "tokens": os.environ.get(f"{_PREFIX}TOKENS", "")}
    values["proxy_addresses"] = tuple(filter(None, values.pop("proxy_address").split(",")))
    return values


@contextmanager
def _open_ledger(database_url: str | None, *, is_sample: bool) -> Generator[tuple[str, str]]:
    """The ledger to show and what its pages say about it: the named one, or sample data."""
    from tokenledger_exporter.demo.sample_ledger import SAMPLE_NOTICE, sample_database
    from tokenledger_exporter.embedded.postgres import EmbeddedPostgres, default_home

    if not is_sample:
        if configured_url(database_url):
            with open_database(database_url) as url:
                yield url, ""
            return
        if EmbeddedPostgres(default_home()).has_data:
            with EmbeddedPostgres(default_home()) as server:
                if _has_calls(server.database_url):
                    warn(f"no database URL is set: using the embedded Postgres in {server.home}")
                    yield server.database_url, ""
                    return
    with sample_database(warn) as url:
        warn(f"ask the sample from another terminal: export TOKENLEDGER_DATABASE_URL='{url}'")
        yield url, SAMPLE_NOTICE


def _has_calls(database_url: str) -> bool:
    from tokenledger_exporter.db.connection import reading
    from tokenledger_exporter.queries.calls import has_calls

    try:
        with reading(database_url) as connection:
            return has_calls(connection)
    except SchemaError:
        # It was started once, and never migrated.
        return False
