"""`tokenledger forecast`: what the month will have cost at its end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tokenledger_exporter.cli.database import database_option, open_database
from tokenledger_exporter.cli.exit_codes import explained, warn
from tokenledger_exporter.cli.filters import conditions, where_option
from tokenledger_exporter.cli.output import output_option, write_output
from tokenledger_exporter.cli.period import timezone_option
from tokenledger_exporter.cli.waiting import warn_of_waiting_calls
from tokenledger_exporter.errors import InvalidRequestError

if TYPE_CHECKING:
    from tokenledger_exporter.queries.forecast import Backtest, MonthForecast

_SEASONAL = "seasonal"


@click.command("forecast", epilog="Example: tokenledger forecast --where team=ml")
@click.option("--month", default="this", metavar="MONTH", help="Month: this, last or 2026-10.")
@click.option(
    "--method",
    default=_SEASONAL,
    metavar="NAME",
    help="seasonal, or mean30, which is the average of the last 7 days x 30.",
)
@click.option(
    "--backtest", is_flag=True, help="Forecast past months from what was known then instead."
)
@where_option
@click.option(
    "--format",
    "shape",
    default="table",
    type=click.Choice(["table", "csv", "json", "md"]),
    help="Output format.",
)
@output_option
@timezone_option
@click.option(
    "--show-sql", is_flag=True, help="Print the SQL with its values instead of the result."
)
@database_option
@explained
def command(  # noqa: PLR0913 - one argument per option
    *,
    month: str,
    method: str,
    backtest: bool,
    where: tuple[str, ...],
    shape: str,
    output: str | None,
    timezone: str,
    show_sql: bool,
    database_url: str | None,
) -> None:
    """Forecast what the month will have cost at its end, with an 80 % interval.

    The interval comes from the model's errors on this ledger's own past. Times are UTC by default.
    """
    from tokenledger_exporter.db.connection import reading
    from tokenledger_exporter.db.shown_sql import collect_sql
    from tokenledger_exporter.db.steps import run_steps
    from tokenledger_exporter.queries.forecast import (
        ForecastRequest,
        backtest_steps,
        forecast_steps,
    )

    _check(backtest=backtest)
    request = ForecastRequest(month, method, conditions(where), timezone)
    result: MonthForecast | Backtest
    with open_database(database_url) as url:
        with reading(url) as connection, connection.transaction(), collect_sql() as statements:
            if backtest:
                result = run_steps(connection, backtest_steps(request.where, timezone))
            else:
                result = run_steps(connection, forecast_steps(request))
        if show_sql:
            click.echo("\n\n".join(statements))
            return
        warn_of_waiting_calls(url)
    _print(result, shape, output)


def _check(*, backtest: bool) -> None:
    """Refuse options that a back-test has no use for.

    Raises:
        InvalidRequestError: the message names the option.
    """
    context = click.get_current_context()
    for name in ("month", "method") if backtest else ():
        if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE:
            raise InvalidRequestError(
                f"--backtest and --{name} cannot be combined: it forecasts all past months by both "
                "methods"
            )


def _print(result: MonthForecast | Backtest, shape: str, output: str | None) -> None:
    """Print the result, and on standard error what its format has no place for."""
    from tokenledger_exporter.queries.forecast import MonthForecast
    from tokenledger_exporter.render.forecast import render_backtest, render_forecast

    if isinstance(result, MonthForecast):
        content = render_forecast(result, shape)
    else:
        content = render_backtest(result, shape)
    write_output(content, output)
    if shape == "csv":
        warn(result.coverage.sentence)
    for note in result.notes:
        warn(f"note: {note}")
