"""`tokenledger version`: the installed release."""

from __future__ import annotations

import click


@click.command("version", epilog="Example: tokenledger version")
def command() -> None:
    """Print the installed release."""
    from importlib.metadata import version

    click.echo(f"tokenledger {version('tokenledger-otel')}")
