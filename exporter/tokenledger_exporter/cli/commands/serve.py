"""`tokenledger serve`: the OTLP endpoint."""

from __future__ import annotations

import click

from tokenledger_exporter.cli.database import database_option, open_database
from tokenledger_exporter.cli.exit_codes import explained
from tokenledger_exporter.errors import InvalidRequestError

_PREFIX = "TOKENLEDGER_SERVER_"


@click.command("serve")
@click.option("--host", default="127.0.0.1", envvar=f"{_PREFIX}HOST", help="Address to listen on.")
@click.option("--port", default=4318, envvar=f"{_PREFIX}PORT", help="Port of OTLP/HTTP.")
@click.option(
    "--grpc-port", default=4317, envvar=f"{_PREFIX}GRPC_PORT", help="Port of OTLP/gRPC; 0 is off."
)
@click.option(
    "--workers",
    default=1,
    type=click.IntRange(1),
    envvar=f"{_PREFIX}WORKERS",
    help="Processes that answer.",
)
@click.option(
    "--tokens-file",
    default="",
    metavar="FILE",
    envvar=f"{_PREFIX}TOKENS_FILE",
    help="Who may send: lines organization:sha256, read again when they change. "
    f"{_PREFIX}TOKENS holds such items itself.",
)
@click.option(
    "--new-token",
    metavar="ORGANIZATION",
    help="Print a new token and its line for the tokens file, and end; * is any organization.",
)
@click.option(
    "--tls-cert", default="", metavar="FILE", envvar=f"{_PREFIX}TLS_CERT", help="Certificates, PEM."
)
@click.option(
    "--tls-key", default="", metavar="FILE", envvar=f"{_PREFIX}TLS_KEY", help="Their key, PEM."
)
@click.option(
    "--tls-client-ca",
    default="",
    metavar="FILE",
    envvar=f"{_PREFIX}TLS_CLIENT_CA",
    help="Take only clients with a certificate of this authority, PEM.",
)
@click.option(
    "--tls-client-organization",
    default="",
    metavar="PART",
    envvar=f"{_PREFIX}TLS_CLIENT_ORGANIZATION",
    help="Bind a client to the organization its certificate names: cn, o or san.",
)
@click.option(
    "--server-name",
    "server_names",
    multiple=True,
    metavar="NAME",
    envvar=f"{_PREFIX}NAME",
    help="A Host header to answer, beside addresses and localhost, where nobody needs a token.",
)
@click.option(
    "--max-age-days",
    "sender_days",
    default=30,
    type=click.IntRange(1),
    envvar=f"{_PREFIX}MAX_AGE_DAYS",
    help="How long ago a call may have begun that a sender of one organization reports.",
)
@click.option(
    "--max-age-days-any",
    "most_days",
    default=400,
    type=click.IntRange(1),
    envvar=f"{_PREFIX}MAX_AGE_DAYS_ANY",
    help="The same of senders bound to none.",
)
@click.option(
    "--max-body-mib",
    default=4,
    type=click.IntRange(1),
    envvar=f"{_PREFIX}MAX_BODY_MIB",
    help="How large a request may be, uncompressed.",
)
@click.option(
    "--max-waiting",
    "most_waiting",
    default=10_000,
    type=click.IntRange(1),
    envvar=f"{_PREFIX}MAX_WAITING",
    help="Calls a worker holds until COMMIT; more are refused with 429.",
)
@click.option(
    "--max-values",
    "most_values",
    default=10_000,
    type=click.IntRange(0),
    envvar=f"{_PREFIX}MAX_VALUES",
    help="Values an hour of one dimension; the rest is __other__, 0 for no end.",
)
@click.option(
    "--keep/--no-keep", "keeps", default=True, help="Settle rows and make months ahead as well."
)
@database_option
@explained
def command(
    *, new_token: str | None, database_url: str | None, max_body_mib: int, **told: object
) -> None:
    """Take OpenTelemetry from anybody: an SDK in any language, a Collector, an agent's own.

    OTLP/HTTP (/v1/traces, /v1/logs; protobuf, JSON; gzip, zstd) and OTLP/gRPC. A request is
    answered once its calls are committed; /health says that it runs, /ready that the database takes
    rows.
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
        given = {
            **told,
            "database_url": url,
            "tokens": tokens,
            "most_body_bytes": max_body_mib * MIB,
        }
        options = msgspec.convert(given, ServeOptions)
        serve(options, lambda line: click.echo(f"tokenledger: {line}", err=True))


def _print_new_token(organization: str) -> None:
    from tokenledger_exporter.server.auth import new_token, token_line

    token = new_token()
    line = token_line(organization, token)
    click.echo(f"token, for the sender, shown this once:  {token}")
    click.echo(f"line, for the tokens file:               {line}")
