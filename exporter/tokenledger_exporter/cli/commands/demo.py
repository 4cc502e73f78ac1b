"""`tokenledger demo`: a throw-away ledger, an ordinary app, and what it cost."""

from __future__ import annotations

import sys

import click


@click.command("demo")
def command() -> None:
    """Run a sample app against a throw-away Postgres and print what it cost.

    The demo needs no key and no network: a stand-in on this machine answers for OpenAI and
    Anthropic. It takes about ten seconds and leaves nothing behind. It needs the extras 'embedded',
    'openai' and 'anthropic'.
    """
    from tokenledger_exporter.demo.run import main

    sys.exit(main())
