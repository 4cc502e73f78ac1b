"""The period of a command line: `--since`, `--until` and `--month`."""

from __future__ import annotations

from datetime import timedelta, timezone
from typing import TYPE_CHECKING, Final

import click

from tokenledger_exporter.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime, tzinfo

    from typing_extensions import ParamSpec

    P = ParamSpec("P")

UNTIL_HELP: Final = "End of the period, in the same formats; a named day is included."
MONTH_HELP: Final = "A whole month instead: 2026-10, last or this."


def month_option(command: Callable[P, None]) -> Callable[P, None]:
    """Add `--month` to a command that takes `--since` and `--until`."""
    return click.option("--month", metavar="MONTH", help=MONTH_HELP)(command)


def timezone_option(command: Callable[P, None]) -> Callable[P, None]:
    """Add `--timezone` to a command that shows days or times."""
    return click.option(
        "--timezone",
        default="UTC",
        metavar="NAME",
        help="Time zone for hours, days and months, such as America/New_York.",
    )(command)


def read_period(
    since: str, until: str, month: str | None = None, zone: tzinfo = timezone.utc
) -> tuple[datetime, datetime]:
    """The start, included, and the end, excluded.

    Raises:
        InvalidRequestError: a time has no known form, or the period is empty.
    """
    from tokenledger_exporter.domain.time_expressions import parse_end, parse_moment, parse_month

    if month:
        context = click.get_current_context()
        for name in ("since", "until"):
            if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE:
                raise InvalidRequestError(f"--month and --{name} cannot be combined: use one")
        return parse_month(month, zone=zone)
    start, end = parse_moment(since, zone=zone), parse_end(until, zone=zone)
    if until.strip().lower() == "now":
        # The clocks of the app and of this machine may differ; include the latest calls.
        end += timedelta(minutes=1)
    if start >= end:
        raise InvalidRequestError(
            f"--since must be before --until, but {start:%Y-%m-%d %H:%M %Z} is not before "
            f"{end:%Y-%m-%d %H:%M %Z}"
        )
    return start, end
