"""The command group."""

import os
import sys

import click

from tokenledger_exporter.cli.commands import (
    calls,
    dashboard,
    db,
    demo,
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
    version,
)
from tokenledger_exporter.cli.commands.answers import forecast, mcp, runs, why
from tokenledger_exporter.cli.commands.live import statusline, tail, top
from tokenledger_exporter.cli.commands.live.runs import session, trace
from tokenledger_exporter.cli.commands.setup import completion, init
from tokenledger_exporter.cli.commands.spending import alert, budget
from tokenledger_exporter.cli.group import without_password


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "show_default": True},
    epilog="Example: tokenledger report --by feature --since 7d",
)
@click.version_option(package_name="tokenledger-otel", prog_name="tokenledger")
def main() -> None:
    """Track what your LLM calls cost, in your own Postgres."""


_MODULES = (
    alert,
    budget,
    calls,
    completion,
    dashboard,
    db,
    demo,
    doctor,
    explain,
    forecast,
    init,
    keep,
    mcp,
    prices,
    purge,
    report,
    reprice,
    retention,
    runs,
    serve,
    spool,
    statusline,
    tail,
    top,
    version,
    why,
)

for _module in _MODULES:
    main.add_command(_module.command)
main.add_command(purge.erase_command)
main.add_command(trace)
main.add_command(session)


def start() -> None:
    """Run the command; restart the process first if its command line contains a password."""
    url, words = without_password(sys.orig_argv)
    if url and os.name == "posix":
        os.environ["TOKENLEDGER_DATABASE_URL"] = url
        os.execv(sys.executable, words)  # noqa: S606 - the same command
    main()
