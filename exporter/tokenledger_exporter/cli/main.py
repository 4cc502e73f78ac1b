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
    spool,
)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.version_option(version("tokenledger-otel"), prog_name="tokenledger")
def main() -> None:
    """What your LLM features cost, from your own Postgres."""


for _module in (db, doctor, explain, keep, prices, purge, report, reprice, retention, spool):
    main.add_command(_module.command)
main.add_command(purge.erase_command)
