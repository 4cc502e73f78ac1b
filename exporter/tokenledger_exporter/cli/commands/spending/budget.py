"""`tokenledger budget`: set budgets, and see what is spent, reserved and left."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from tokenledger_exporter.cli.database import database_option, format_option, open_database
from tokenledger_exporter.cli.exit_codes import explained, say
from tokenledger_exporter.cli.filters import conditions
from tokenledger_exporter.cli.period import read_period, timezone_option
from tokenledger_exporter.cli.rows import minute_text, print_rows
from tokenledger_exporter.plain_text import counted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tokenledger_exporter.budgets.results import BudgetStatus
    from tokenledger_exporter.render.table import Cell


@click.group(
    "budget",
    epilog="Example: tokenledger budget set team-ml --where team=ml --limit 500 --warn 50,80,100",
)
def command() -> None:
    """Limit what may be spent per period; apps refuse calls that have no room."""


@command.command(
    "set",
    epilog="Example: tokenledger budget set users --each user --limit 5 --per day",
)
@click.argument("name")
@click.option("--limit", metavar="USD", help="What may be spent per period, US dollars.")
@click.option(
    "--where",
    multiple=True,
    metavar="DIMENSION=VALUE",
    help="Calls that count; repeatable. Values of one dimension are alternatives.",
)
@click.option("--all-calls", is_flag=True, help="Remove the filters of an existing budget.")
@click.option("--each", metavar="DIMENSION", help="One limit per value of DIMENSION.")
@click.option(
    "--per",
    metavar="PERIOD",
    help="hour, day, week, month, total, 30d (the last days), or run, session or trace for one "
    "limit each; default: month.",
)
@click.option("--timezone", metavar="NAME", help="Where periods start; default: UTC.")
@click.option(
    "--action",
    metavar="ACTION",
    help="block refuses calls at the limit, alert only reports; default: block.",
)
@click.option("--warn", metavar="PERCENT,...", help="Shares of the limit to report.")
@click.option(
    "--unpriced",
    metavar="POLICY",
    help="Calls without a price: allow, refuse, or estimate by the average; default: allow.",
)
@click.option(
    "--on-outage",
    metavar="POLICY",
    help="allow or refuse calls while the database cannot be reached; default: allow.",
)
@database_option
@explained
def set_command(  # noqa: PLR0913 - one argument per option
    *,
    name: str,
    limit: str | None,
    where: tuple[str, ...],
    all_calls: bool,
    each: str | None,
    per: str | None,
    timezone: str | None,
    action: str | None,
    warn: str | None,
    unpriced: str | None,
    on_outage: str | None,
    database_url: str | None,
) -> None:
    """Create budget NAME, or change the given options of an existing one.

    Every budget that matches a call must have room for it. Running apps follow within 5 seconds.
    """
    from tokenledger_exporter.budgets.budgets import budget_status, set_budget
    from tokenledger_exporter.budgets.definition import sentence
    from tokenledger_exporter.errors import InvalidRequestError

    if where and all_calls:
        raise InvalidRequestError("--where and --all-calls cannot be combined: use one")
    with open_database(database_url) as url:
        budget = set_budget(
            url,
            name,
            limit=limit,
            where=conditions(where) if where or all_calls else None,
            each=each,
            per=per,
            timezone=timezone,
            action=action,
            warn=warn,
            unpriced=unpriced,
            on_outage=on_outage,
        )
        accounts = budget_status(url, name, limit=1)
    say(sentence(budget))
    if accounts:
        say(f"{_account(accounts[0])}: {_spent(accounts[0])}")


@command.command("list", epilog="Example: tokenledger budget list")
@format_option
@database_option
@explained
def list_command(*, shape: str, database_url: str | None) -> None:
    """List the budgets."""
    from tokenledger_exporter.budgets.budgets import list_budgets
    from tokenledger_exporter.budgets.definition import period_text
    from tokenledger_exporter.db.dimensions import filter_text
    from tokenledger_exporter.pricing.book import plain_usd

    with open_database(database_url) as url:
        budgets = list_budgets(url)
    rows: list[dict[str, Cell]] = [
        {
            "budget": budget.name,
            "limit_usd": plain_usd(budget.limit_usd),
            "period": period_text(budget),
            "timezone": budget.timezone,
            "calls": filter_text(budget.filters),
            "action": "paused" if budget.is_paused else budget.action,
            "warn": ",".join(map(str, budget.warn_percents)),
            "unpriced": budget.unpriced,
            "on_outage": budget.on_outage,
        }
        for budget in budgets
    ]
    print_rows(rows, shape, "no budget is set: run 'tokenledger budget set'", optional=["timezone"])


@command.command("show", epilog="Example: tokenledger budget show team-ml")
@click.argument("name")
@database_option
@explained
def show_command(*, name: str, database_url: str | None) -> None:
    """Show one budget and its accounts with the smallest share left."""
    from tokenledger_exporter.budgets.budgets import budget_status, show_budget
    from tokenledger_exporter.budgets.definition import sentence

    with open_database(database_url) as url:
        budget = show_budget(url, name)
        accounts = budget_status(url, name, limit=10)
    say(sentence(budget), f"without a price: {budget.unpriced}; in an outage: {budget.on_outage}")
    for status in accounts:
        say(f"{_account(status)}: {_spent(status)}")


@command.command("status", epilog="Example: tokenledger budget status users --value ada")
@click.argument("name", required=False)
@click.option("--value", metavar="VALUE", help="Only this value of the budget's dimension.")
@click.option("--limit", default=20, type=click.IntRange(1, 10_000), help="Maximum rows.")
@format_option
@database_option
@explained
def status_command(
    *, name: str | None, value: str | None, limit: int, shape: str, database_url: str | None
) -> None:
    """Show what is spent, reserved and left of budget NAME, or of all; least left first.

    'unconfirmed' may have been spent by calls that were sent and not reported. 'unreserved' calls
    were made by programs that do not ask the budget. 'pace' is what the period will have cost if it
    goes on as it began.
    """
    from tokenledger_exporter.budgets.budgets import budget_status

    with open_database(database_url) as url:
        accounts = budget_status(url, name, value=value, limit=limit)
    rows = [_status_row(status) for status in accounts]
    print_rows(
        rows,
        shape,
        "no call is in a budget yet",
        optional=["unreserved_calls", "unpriced_calls", "unconfirmed_usd", "calls"],
    )


@command.command("pause", epilog="Example: tokenledger budget pause team-ml")
@click.argument("name")
@database_option
@explained
def pause_command(*, name: str, database_url: str | None) -> None:
    """Stop refusing and reporting; the budget goes on counting."""
    _pause(name, database_url, is_paused=True)


@command.command("resume", epilog="Example: tokenledger budget resume team-ml")
@click.argument("name")
@database_option
@explained
def resume_command(*, name: str, database_url: str | None) -> None:
    """Refuse and report again."""
    _pause(name, database_url, is_paused=False)


@command.command("delete", epilog="Example: tokenledger budget delete team-ml")
@click.argument("name")
@database_option
@explained
def delete_command(*, name: str, database_url: str | None) -> None:
    """Delete a budget and its sums; its history and its refusals stay."""
    from tokenledger_exporter.budgets.budgets import delete_budget

    with open_database(database_url) as url:
        delete_budget(url, name)
    say(f"{name}: deleted")


@command.command("history", epilog="Example: tokenledger budget history team-ml")
@click.argument("name", required=False)
@click.option("--limit", default=20, type=click.IntRange(1, 10_000), help="Maximum rows.")
@format_option
@database_option
@explained
def history_command(*, name: str | None, limit: int, shape: str, database_url: str | None) -> None:
    """Show who changed budget NAME, or any budget, and how; newest first."""
    from tokenledger_exporter.budgets.budgets import budget_history

    with open_database(database_url) as url:
        changes = budget_history(url, name, limit=limit)
    rows: list[dict[str, Cell]] = [
        {
            "changed_at": minute_text(change.recorded_at),
            "changed_by": change.changed_by,
            "budget": change.budget,
            "action": change.action,
            "definition": _definition(change.definition)
            if shape == "table"
            else json.dumps(change.definition, sort_keys=True),
        }
        for change in changes
    ]
    print_rows(rows, shape, "no budget was ever changed")


@command.command("refusals", epilog="Example: tokenledger budget refusals --since 1d")
@click.argument("name", required=False)
@click.option("--since", default="7d", metavar="TIME", help="Start of the period: 7d, 2026-10-01.")
@click.option("--until", default="now", metavar="TIME", help="End of the period.")
@click.option("--limit", default=20, type=click.IntRange(1, 10_000), help="Maximum rows.")
@timezone_option
@format_option
@database_option
@explained
def refusals_command(  # noqa: PLR0913 - one argument per option
    *,
    name: str | None,
    since: str,
    until: str,
    limit: int,
    timezone: str,
    shape: str,
    database_url: str | None,
) -> None:
    """Show the calls that budgets refused before they were sent; most calls first."""
    from tokenledger_exporter.budgets.budgets import refusals
    from tokenledger_exporter.db.dimensions import zone_of
    from tokenledger_exporter.pricing.book import plain_usd

    zone = zone_of(timezone)
    start, end = read_period(since, until, None, zone)
    with open_database(database_url) as url:
        groups = refusals(url, start, end, name, limit=limit)
    rows: list[dict[str, Cell]] = [
        {
            "budget": group.budget,
            "value": group.value,
            "app": group.app_name,
            "reason": group.reason,
            "refused_calls": group.refused_calls,
            "needed_usd": plain_usd(group.needed_usd),
            "last_at": minute_text(group.last_at.astimezone(zone)),
        }
        for group in groups
    ]
    print_rows(rows, shape, "no call was refused")


@command.command("release", epilog="Example: tokenledger budget release team-ml")
@click.argument("name")
@database_option
@explained
def release_command(*, name: str, database_url: str | None) -> None:
    """Free what dead processes may have spent, because you know that they did not.

    Money of a process that was killed stays reserved until its spool is recovered: another process
    on its machine does that within a minute, or 'tokenledger spool flush'.
    """
    from tokenledger_exporter.budgets.budgets import release_unconfirmed
    from tokenledger_exporter.pricing.book import plain_usd

    with open_database(database_url) as url:
        freed = release_unconfirmed(url, name)
    for hold in freed:
        say(
            f"{hold.budget}: freed ${plain_usd(hold.usd)} of {hold.app_name or 'an app'}, reserved "
            f"{minute_text(hold.created_at)} UTC"
        )
    if not freed:
        say(f"{name}: nothing is unconfirmed")


def _pause(name: str, database_url: str | None, *, is_paused: bool) -> None:
    from tokenledger_exporter.budgets.budgets import pause_budget
    from tokenledger_exporter.budgets.definition import sentence

    with open_database(database_url) as url:
        say(sentence(pause_budget(url, name, is_paused=is_paused)))


def _status_row(status: BudgetStatus) -> dict[str, Cell]:
    from tokenledger_exporter.pricing.book import plain_usd

    return {
        "budget": status.budget,
        "value": status.value,
        "limit_usd": plain_usd(status.limit_usd),
        "spent_usd": plain_usd(status.spent_usd),
        "unconfirmed_usd": plain_usd(status.unconfirmed_usd),
        "reserved_usd": plain_usd(status.reserved_usd),
        "left_usd": plain_usd(status.left_usd),
        "used": f"{status.used_percent:.1f}%",
        "pace_usd": None if status.pace_usd is None else plain_usd(status.pace_usd),
        "resets_at": minute_text(status.resets_at),
        "calls": status.calls,
        "unpriced_calls": status.unpriced_calls,
        "unreserved_calls": status.unreserved_calls,
        "state": "paused" if status.is_paused else status.action,
    }


def _account(status: BudgetStatus) -> str:
    return status.value or "now"


def _spent(status: BudgetStatus) -> str:
    from tokenledger_exporter.pricing.book import plain_usd

    parts = [
        f"${plain_usd(status.spent_usd)} spent in {counted(status.calls, 'call')}",
        f"${plain_usd(status.reserved_usd)} reserved",
        f"${plain_usd(status.left_usd)} left of ${plain_usd(status.limit_usd)}",
    ]
    if status.unconfirmed_usd:
        parts.insert(1, f"${plain_usd(status.unconfirmed_usd)} unconfirmed")
    if status.unpriced_calls:
        parts.append(f"{counted(status.unpriced_calls, 'call')} without a known cost")
    if status.pace_usd is not None:
        parts.append(f"at this pace ${plain_usd(status.pace_usd)} by the end of the period")
    if status.resets_at:
        parts.append(f"resets {minute_text(status.resets_at)} UTC")
    return ", ".join(parts)


def _definition(values: Mapping[str, object]) -> str:
    """What is set in a definition, as `name=value`."""
    return " ".join(
        f"{name}={json.dumps(value) if isinstance(value, (dict, list)) else value}"
        for name, value in sorted(values.items())
        if value not in (None, "", [], {}, False)
    )
