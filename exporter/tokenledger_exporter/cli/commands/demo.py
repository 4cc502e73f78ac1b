"""`tokenledger demo`: run a sample app against a temporary ledger."""

from __future__ import annotations

import sys

import click


@click.command("demo", epilog="Example: tokenledger demo")
def command() -> None:
    """Run a sample app against a temporary Postgres and print what it cost.

    The demo needs no API key and no network: a local server stands in for OpenAI and Anthropic. It
    takes about ten seconds and deletes everything it created. It needs the extras 'embedded',
    'openai' and 'anthropic'.
    """
    from tokenledger_exporter.demo.run import main

    sys.exit(main())
