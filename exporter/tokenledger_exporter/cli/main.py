"""The command group."""

from importlib.metadata import version

import click

from tokenledger_exporter.cli import (
    db,
    doctor,
    explain,
    keep,
    prices,
    purge,
    report,
    reprice,
    retention,
    serve,
    spool,
)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.version_option(version("tokenledger-otel"), prog_name="tokenledger")
def main() -> None:
    """What your LLM features cost, from your own Postgres."""


_MODULES = (db, doctor, explain, keep, prices, purge, report, reprice, retention, serve, spool)

for _module in _MODULES:
    main.add_command(_module.command)
main.add_command(purge.erase_command)
