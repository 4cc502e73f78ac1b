"""`tokenledger doctor`: check whether a call would reach the ledger."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict

import click

from tokenledger_exporter.cli.database import database_option, open_database
from tokenledger_exporter.cli.exit_codes import FINDINGS, UNREACHABLE, explained, say
from tokenledger_exporter.cli.progress import Progress


@click.command("doctor", epilog="Example: tokenledger doctor --verify-rollups")
@click.option(
    "--format",
    "shape",
    default="text",
    type=click.Choice(["text", "json"]),
    help="Output format.",
)
@click.option("--verify-rollups", is_flag=True, help="Only compare the roll-ups with the calls.")
@click.option("--repair", is_flag=True, help="With --verify-rollups: rebuild days that differ.")
@database_option
@explained
def command(*, shape: str, verify_rollups: bool, repair: bool, database_url: str | None) -> None:
    """Check every step between an LLM call and its row in the ledger.

    Exit codes: 0 ok, 1 problems found, 3 database unreachable.
    """
    from tokenledger_exporter.doctor.check import FAIL, OK
    from tokenledger_exporter.doctor.checks import compare_rollups, examine
    from tokenledger_exporter.errors import InvalidRequestError
    from tokenledger_exporter.queries.report import SCHEMA_VERSION

    if repair and not verify_rollups:
        raise InvalidRequestError("--repair needs --verify-rollups")
    with open_database(database_url) as url:
        if verify_rollups:
            with Progress("comparing roll-ups", "days") as progress:
                checks = compare_rollups(url, repair=repair, on_progress=progress.update)
        else:
            checks = examine(url)
    if shape == "json":
        document = {
            "schema_version": SCHEMA_VERSION,
            "checks": [asdict(check) for check in checks],
        }
        click.echo(json.dumps(document, indent=2))
    else:
        for check in checks:
            say(f"{check.state:<5} {check.name}: {check.detail}")
            if check.remedy and check.state != OK:
                say(f"      -> {check.remedy}")
    if any(check.name == "database" and check.state == FAIL for check in checks):
        sys.exit(UNREACHABLE)
    if any(check.state != OK for check in checks):
        sys.exit(FINDINGS)
