"""How a command ends: exit codes, and errors as one line on standard error."""

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING, Final, NoReturn

import click

from tokenledger_exporter.errors import DatabaseUnreachableError, InvalidRequestError, LedgerError
from tokenledger_exporter.plain_text import visible

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import ParamSpec

    P = ParamSpec("P")

FINDINGS: Final = 1
"""The command did its work and found something wrong."""

USAGE: Final = 2
"""What was asked for does not exist."""

UNREACHABLE: Final = 3
"""The database does not answer."""


def say(*lines: str, err: bool = False) -> None:
    """Print lines that may hold foreign text; what a terminal would not show is escaped."""
    for line in lines:
        click.echo(visible(line), err=err)


def fail(message: str, code: int) -> NoReturn:
    """Say what is wrong on standard error and end with an exit code."""
    say(f"tokenledger: {message}", err=True)
    sys.exit(code)


def explained(command: Callable[P, None]) -> Callable[P, None]:
    """Turn the ledger's errors into one line and the right exit code."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except InvalidRequestError as error:
            fail(str(error), USAGE)
        except DatabaseUnreachableError as error:
            fail(str(error), UNREACHABLE)
        except LedgerError as error:
            fail(str(error), FINDINGS)

    return run
