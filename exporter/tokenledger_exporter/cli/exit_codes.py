"""Exit codes, and errors as one line on standard error."""

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING, Final, NoReturn

import click

from tokenledger_exporter.errors import (
    DatabaseUnreachableError,
    DatabaseUrlError,
    InvalidRequestError,
    LedgerError,
)
from tokenledger_exporter.plain_text import visible

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import ParamSpec

    P = ParamSpec("P")

FINDINGS: Final = 1
"""The command ran and found a problem."""

USAGE: Final = 2
"""The arguments are invalid."""

UNREACHABLE: Final = 3
"""The database cannot be reached."""


def say(*lines: str, err: bool = False) -> None:
    """Print lines that may contain untrusted text; control characters are escaped."""
    for line in lines:
        click.echo(visible(line), err=err)


def warn(message: str) -> None:
    """Print a message to standard error, under the name of the command."""
    say(*f"tokenledger: {message}".split("\n"), err=True)


def fail(message: str, code: int) -> NoReturn:
    """Print an error to standard error and exit with a code."""
    warn(message)
    sys.exit(code)


def explained(command: Callable[P, None]) -> Callable[P, None]:
    """Print the ledger's errors as one line and exit with the matching code."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except (InvalidRequestError, DatabaseUrlError) as error:
            fail(str(error), USAGE)
        except DatabaseUnreachableError as error:
            fail(str(error), UNREACHABLE)
        except LedgerError as error:
            fail(str(error), FINDINGS)

    return run
