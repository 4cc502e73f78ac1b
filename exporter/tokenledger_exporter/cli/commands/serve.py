"""`tokenledger serve`: the OTLP endpoint."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from tokenledger_exporter.cli.commands import dashboard
from tokenledger_exporter.cli.database import database_option, open_database
from tokenledger_exporter.cli.exit_codes import explained, warn
from tokenledger_exporter.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Generator

_PREFIX = "TOKENLEDGER_SERVER_"


@click.command("serve", epilog="Example: tokenledger serve --port 4318")
@click.option("--host", default="127.0.0.1", envvar=f"{_PREFIX}HOST", help="Address to listen on.")
@click.option("--port", default=4318, envvar=f"{_PREFIX}PORT", help="Port for OTLP/HTTP.")
@click.option(
    "--grpc-port",
    default=4317,
    envvar=f"{_PREFIX}GRPC_PORT",
    help="Port for OTLP/gRPC; 0 disables it.",
)
@click.option(
    "--workers",
    default=1,
    type=click.IntRange(1),
    envvar=f"{_PREFIX}WORKERS",
    help="Number of worker processes.",
)
@click.option(
    "--tokens-file",
    default="",
    metavar="FILE",
    envvar=f"{_PREFIX}TOKENS_FILE",
    help="File of allowed tokens, with lines organization:sha256; reloaded when it changes. "
    f"The variable {_PREFIX}TOKENS contains the lines themselves.",
)
@click.option(
    "--new-token",
    metavar="ORGANIZATION",
    help="Print a new token and its line for the tokens file, then exit; * is any organization.",
)
@click.option(
    "--tls-cert",
    default="",
    metavar="FILE",
    envvar=f"{_PREFIX}TLS_CERT",
    help="Certificate chain (PEM).",
)
@click.option(
    "--tls-key",
    default="",
    metavar="FILE",
    envvar=f"{_PREFIX}TLS_KEY",
    help="Private key of the certificate (PEM).",
)
@click.option(
    "--tls-client-ca",
    default="",
    metavar="FILE",
    envvar=f"{_PREFIX}TLS_CLIENT_CA",
    help="Accept only clients with a certificate from this authority (PEM).",
)
@click.option(
    "--tls-client-organization",
    default="",
    metavar="PART",
    envvar=f"{_PREFIX}TLS_CLIENT_ORGANIZATION",
    help="Bind a client to the organization in this part of its certificate: cn, o or san.",
)
@click.option(
    "--server-name",
    "server_names",
    multiple=True,
    metavar="NAME",
    envvar=f"{_PREFIX}NAME",
    help="Allowed Host header, in addition to IP addresses and localhost; checked if no tokens are "
    "required.",
)
@click.option(
    "--max-age-days",
    default=30,
    type=click.IntRange(1),
    envvar=f"{_PREFIX}MAX_AGE_DAYS",
    help="Maximum age in days of a call from a sender that is bound to one organization.",
)
@click.option(
    "--max-age-days-any",
    default=400,
    type=click.IntRange(1),
    envvar=f"{_PREFIX}MAX_AGE_DAYS_ANY",
    help="Maximum age in days of a call from any other sender.",
)
@click.option(
    "--max-body-mib",
    default=4,
    type=click.IntRange(1),
    envvar=f"{_PREFIX}MAX_BODY_MIB",
    help="Maximum size of an uncompressed request, in MiB.",
)
@click.option(
    "--max-waiting",
    default=10_000,
    type=click.IntRange(1),
    envvar=f"{_PREFIX}MAX_WAITING",
    help="Maximum calls per worker that wait to be committed; further requests get 429.",
)
@click.option(
    "--max-values",
    default=10_000,
    type=click.IntRange(0),
    envvar=f"{_PREFIX}MAX_VALUES",
    help="Maximum values per dimension and hour; others become __other__; 0 is unlimited.",
)
@click.option(
    "--keep/--no-keep",
    "runs_maintenance",
    default=True,
    help="Also run the tasks of `tokenledger keep`.",
)
@click.option(
    "--dashboard/--no-dashboard",
    "has_dashboard",
    default=False,
    envvar=f"{_PREFIX}DASHBOARD",
    help="Also run `tokenledger dashboard`, in a process of its own; the variables "
    "TOKENLEDGER_DASHBOARD_... set its other options.",
)
@click.option(
    "--dashboard-port",
    default=None,
    type=int,
    help="Port of the dashboard; default: TOKENLEDGER_DASHBOARD_PORT or 8765.",
)
@database_option
@click.pass_context
@explained
def command(  # noqa: PLR0913 - each is an option that does not belong to the service itself
    context: click.Context,
    /,
    *,
    new_token: str | None,
    database_url: str | None,
    max_body_mib: int,
    has_dashboard: bool,
    dashboard_port: int | None,
    **arguments: object,
) -> None:
    """Run an OTLP endpoint for SDKs in any language, Collectors and coding agents.

    It accepts OTLP/HTTP (/v1/traces, /v1/logs; protobuf, JSON; gzip, zstd) and OTLP/gRPC. A request
    is answered once its calls are committed. /v1/budgets reserves and settles money in budgets.
    /health says that the service runs, /ready that the database accepts rows.
    """
    if new_token is not None:
        _print_new_token(new_token)
        return
    try:
        from tokenledger_exporter.server.options import MIB, ServeOptions
        from tokenledger_exporter.server.run import serve
    except ModuleNotFoundError as error:
        raise InvalidRequestError(
            f"the service needs {error.name}: pip install 'tokenledger-otel[server]'"
        ) from None
    import os

    import msgspec

    with open_database(database_url) as url:
        tokens = os.environ.get(f"{_PREFIX}TOKENS", "")
        values = {
            **arguments,
            "database_url": url,
            "tokens": tokens,
            "max_body_bytes": max_body_mib * MIB,
        }
        options = msgspec.convert(values, ServeOptions)
        is_asked = context.get_parameter_source("has_dashboard") != ParameterSource.DEFAULT_MAP
        with _dashboard(url, dashboard_port, is_asked=is_asked) if has_dashboard else nullcontext():
            serve(options, warn)


@contextmanager
def _dashboard(database_url: str, port: int | None, *, is_asked: bool) -> Generator[None]:
    """The dashboard of the same ledger, with the options that its variables set.

    Args:
        database_url: the ledger.
        port: its port; by default the variable's.
        is_asked: whether an option or a variable asks for it; otherwise the service runs without
            it if it is not installed.
    """
    try:
        from tokenledger_exporter.web.options import DashboardOptions
        from tokenledger_exporter.web.process import dashboard_process
    except ModuleNotFoundError as error:
        sentence = f"the dashboard needs {error.name}: pip install 'tokenledger-otel[dashboard]'"
        if is_asked:
            raise InvalidRequestError(sentence) from None
        warn(sentence)
        yield
        return
    words = [] if port is None else ["--port", str(port)]
    parameters = dashboard.command.make_context("dashboard", words).params
    for name in ("is_sample", "database_url"):
        del parameters[name]
    mounts = dashboard.mounts(has_mcp=parameters.pop("has_mcp"))
    options = DashboardOptions(database_url=database_url, **dashboard.web_arguments(parameters))
    with dashboard_process(options, mounts) as address:
        warn(f"the dashboard is at {address}/")
        yield


def _print_new_token(organization: str) -> None:
    from tokenledger_exporter.access.tokens import new_token, token_line

    token = new_token()
    line = token_line(organization, token)
    click.echo(f"token for the sender or viewer, shown only once:  {token}")
    click.echo(f"line for the tokens file:                         {line}")
