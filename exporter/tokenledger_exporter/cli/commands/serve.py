"""`tokenledger serve`: the OTLP endpoint."""

from __future__ import annotations

import click

from tokenledger_exporter.cli.database import database_option, open_database
from tokenledger_exporter.cli.exit_codes import explained
from tokenledger_exporter.errors import InvalidRequestError

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
@database_option
@explained
def command(
    *, new_token: str | None, database_url: str | None, max_body_mib: int, **arguments: object
) -> None:
    """Run an OTLP endpoint for SDKs in any language, Collectors and coding agents.

    It accepts OTLP/HTTP (/v1/traces, /v1/logs; protobuf, JSON; gzip, zstd) and OTLP/gRPC. A request
    is answered once its calls are committed. /health says that the service runs, /ready that the
    database accepts rows.
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
        serve(options, lambda line: click.echo(f"tokenledger: {line}", err=True))


def _print_new_token(organization: str) -> None:
    from tokenledger_exporter.access.tokens import new_token, token_line

    token = new_token()
    line = token_line(organization, token)
    click.echo(f"token for the sender, shown only once:  {token}")
    click.echo(f"line for the tokens file:              {line}")
