"""`tokenledger version`: the installed release."""

from __future__ import annotations

from importlib.metadata import version

import click


@click.command("version", epilog="Example: tokenledger version")
def command() -> None:
    """Print the installed release."""
    click.echo(f"tokenledger {version('tokenledger-otel')}")
