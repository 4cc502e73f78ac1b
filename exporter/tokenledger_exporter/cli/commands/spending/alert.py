"""`tokenledger alert`: say what to watch and where messages go, and see what fired."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from tokenledger_exporter.cli.database import database_option, format_option, open_database
from tokenledger_exporter.cli.exit_codes import FINDINGS, explained, say
from tokenledger_exporter.cli.filters import conditions
from tokenledger_exporter.cli.rows import minute_text, print_rows
from tokenledger_exporter.plain_text import counted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tokenledger_exporter.alerts.alerts import AlertState, Incident
    from tokenledger_exporter.render.table import Cell


@click.group(
    "alert",
    epilog="Example: tokenledger alert set ml --on budget --budget team-ml --to env:SLACK_URL",
)
def command() -> None:
    """Send a message when a budget, the spend or the share of errors reaches a threshold."""


@command.command(
    "set",
    epilog="Example: tokenledger alert set ml-day --on spend --where team=ml --above 100 --per day "
    "--to env:SLACK_URL",
)
@click.argument("name")
@click.option(
    "--on",
    metavar="KIND",
    help="budget (its warnings), spend, errors, unpriced, or unusual (spend of an hour against "
    "past weeks).",
)
@click.option(
    "--to",
    multiple=True,
    metavar="TARGET",
    help="env:NAME or file:/path of a URL, or webhook+https://host/path; repeatable.",
)
@click.option("--budget", metavar="NAME", help="The budget to watch.")
@click.option(
    "--where",
    multiple=True,
    metavar="DIMENSION=VALUE",
    help="Calls that count; repeatable. Values of one dimension are alternatives.",
)
@click.option("--all-calls", is_flag=True, help="Remove the filters of an existing alert.")
@click.option("--by", metavar="DIMENSION", help="Watch each value of DIMENSION by itself.")
@click.option(
    "--above",
    metavar="THRESHOLD",
    help="US dollars, or for errors and unpriced a percentage such as 5%.",
)
@click.option(
    "--per",
    metavar="PERIOD",
    help="hour, day, week or month; default: day, for errors: hour.",
)
@click.option("--timezone", metavar="NAME", help="Where periods start; default: UTC.")
@click.option(
    "--secret",
    metavar="REFERENCE",
    help="Key that signs webhooks; default: env:TOKENLEDGER_WEBHOOK_SECRET.",
)
@database_option
@explained
def set_command(  # noqa: PLR0913 - one argument per option
    *,
    name: str,
    on: str | None,
    to: tuple[str, ...],
    budget: str | None,
    where: tuple[str, ...],
    all_calls: bool,
    by: str | None,
    above: str | None,
    per: str | None,
    timezone: str | None,
    secret: str | None,
    database_url: str | None,
) -> None:
    """Create alert NAME, or change the given options of an existing one.

    It fires once per period and threshold, and says when it is over. 'tokenledger keep --every 30'
    or 'tokenledger serve' checks it; the variables and files of its targets must exist there.
    """
    from tokenledger_exporter.alerts.alerts import check_targets, set_alert
    from tokenledger_exporter.alerts.definition import sentence
    from tokenledger_exporter.errors import InvalidRequestError

    if where and all_calls:
        raise InvalidRequestError("--where and --all-calls cannot be combined: use one")
    with open_database(database_url) as url:
        alert = set_alert(
            url,
            name,
            on=on,
            to=to or None,
            budget=budget,
            where=conditions(where) if where or all_calls else None,
            by=by,
            above=above,
            per=per,
            timezone=timezone,
            secret=secret,
        )
    say(sentence(alert))
    for result in check_targets(alert):
        if result.error:
            say(f"{result.target} cannot be used on this machine: {result.error}", err=True)


@command.command("list", epilog="Example: tokenledger alert list")
@format_option
@database_option
@explained
def list_command(*, shape: str, database_url: str | None) -> None:
    """List the alerts, and how many of their messages wait or could not be delivered."""
    from tokenledger_exporter.alerts.alerts import list_alerts
    from tokenledger_exporter.alerts.definition import what_text

    with open_database(database_url) as url:
        states = list_alerts(url)
    rows: list[dict[str, Cell]] = [
        {
            "alert": state.alert.name,
            "watches": what_text(state.alert),
            "targets": " ".join(state.alert.targets),
            "state": _state(state),
            "open": state.open_incidents,
            "waiting": state.waiting,
            "undeliverable": state.undeliverable,
            "possible_repeats": state.possible_repeats,
            "fired_at": minute_text(state.fired_at),
            "checked_at": minute_text(state.checked_at),
        }
        for state in states
    ]
    print_rows(rows, shape, "no alert is set: run 'tokenledger alert set'")


@command.command("show", epilog="Example: tokenledger alert show ml-day")
@click.argument("name")
@database_option
@explained
def show_command(*, name: str, database_url: str | None) -> None:
    """Show one alert, and whether its targets can be used on this machine."""
    from tokenledger_exporter.alerts.alerts import check_targets, show_alert
    from tokenledger_exporter.alerts.definition import sentence

    with open_database(database_url) as url:
        state = show_alert(url, name)
    say(
        sentence(state.alert),
        f"{_state(state)}; {counted(state.open_incidents, 'incident')} open; fired: "
        f"{minute_text(state.fired_at) or 'never'}; checked: "
        f"{minute_text(state.checked_at) or 'never'}",
        f"messages: {state.waiting:,} waiting, {state.undeliverable:,} undeliverable, "
        f"{counted(state.possible_repeats, 'possible repeat')}",
    )
    if state.last_error:
        say(f"the last check failed: {state.last_error}")
    for result in check_targets(state.alert):
        say(f"{result.target}: {result.error or 'can be used on this machine'}")


@command.command("test", epilog="Example: tokenledger alert test ml-day")
@click.argument("name")
@database_option
@explained
def test_command(*, name: str, database_url: str | None) -> None:
    """Send a test message to each target of alert NAME, now and from this machine."""
    from tokenledger_exporter.alerts.alerts import send_test

    with open_database(database_url) as url:
        results = send_test(url, name)
    for result in results:
        say(f"{result.target}: {result.error or 'delivered'}", err=bool(result.error))
    if any(result.error for result in results):
        sys.exit(FINDINGS)


@command.command("pause", epilog="Example: tokenledger alert pause ml-day")
@click.argument("name")
@database_option
@explained
def pause_command(*, name: str, database_url: str | None) -> None:
    """Stop checking alert NAME."""
    _pause(name, database_url, is_paused=True)


@command.command("resume", epilog="Example: tokenledger alert resume ml-day")
@click.argument("name")
@database_option
@explained
def resume_command(*, name: str, database_url: str | None) -> None:
    """Check alert NAME again."""
    _pause(name, database_url, is_paused=False)


@command.command("delete", epilog="Example: tokenledger alert delete ml-day")
@click.argument("name")
@database_option
@explained
def delete_command(*, name: str, database_url: str | None) -> None:
    """Delete alert NAME and its messages that wait; its history stays."""
    from tokenledger_exporter.alerts.alerts import delete_alert

    with open_database(database_url) as url:
        delete_alert(url, name)
    say(f"{name}: deleted")


@command.command("history", epilog="Example: tokenledger alert history ml-day")
@click.argument("name", required=False)
@click.option("--limit", default=20, type=click.IntRange(1, 10_000), help="Maximum rows.")
@format_option
@database_option
@explained
def history_command(*, name: str | None, limit: int, shape: str, database_url: str | None) -> None:
    """Show when alert NAME, or any alert, fired and what became of its messages; newest first."""
    from tokenledger_exporter.alerts.alerts import alert_history

    with open_database(database_url) as url:
        incidents = alert_history(url, name, limit=limit)
    rows = [_incident_row(incident) for incident in incidents]
    print_rows(
        rows,
        shape,
        "no alert has fired",
        optional=["error", "explained_by", "value", "possible_repeats", "undeliverable"],
    )


def _incident_row(incident: Incident) -> dict[str, Cell]:
    from tokenledger_exporter.pricing.book import plain_usd

    unit = "%" if incident.kind in {"budget", "errors", "unpriced"} else ""
    dollar = "" if unit else "$"
    cause: Mapping[str, str] = incident.facts.get("explained_by") or {}
    return {
        "fired_at": minute_text(incident.fired_at),
        "over_at": minute_text(incident.over_at),
        "alert": incident.alert,
        "value": incident.value,
        "threshold": f"{dollar}{plain_usd(incident.threshold)}{unit}",
        "observed": f"{dollar}{plain_usd(incident.observed)}{unit}",
        "explained_by": f"{cause['dimension']}={cause['value']}" if cause else None,
        "delivered": incident.delivered,
        "waiting": incident.waiting,
        "undeliverable": incident.undeliverable,
        "possible_repeats": incident.possible_repeats,
        "error": incident.last_error,
    }


def _pause(name: str, database_url: str | None, *, is_paused: bool) -> None:
    from tokenledger_exporter.alerts.alerts import pause_alert
    from tokenledger_exporter.alerts.definition import sentence

    with open_database(database_url) as url:
        say(sentence(pause_alert(url, name, is_paused=is_paused)))


def _state(state: AlertState) -> str:
    if state.alert.is_paused:
        return "paused"
    return "failing" if state.last_error else "fired" if state.open_incidents else "quiet"
