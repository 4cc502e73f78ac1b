"""Writes the result of a command to standard output or to a file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tokenledger_exporter.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import ParamSpec

    P = ParamSpec("P")


def output_option(command: Callable[P, None]) -> Callable[P, None]:
    """Add `--output` to a command that prints rows."""
    return click.option(
        "--output",
        metavar="FILE",
        help="Write to FILE instead of standard output; an existing file is replaced.",
    )(command)


def file_format_option(command: Callable[P, None]) -> Callable[P, None]:
    """Add `--format` to a command whose rows may be a file for other programs."""
    return click.option(
        "--format",
        "shape",
        default="table",
        type=click.Choice(["table", "csv", "json", "md", "parquet"]),
        help="Output format; parquet needs the extra 'archive'.",
    )(command)


def check_output(shape: str, output: str | None) -> None:
    """Refuse to print a binary file on a terminal.

    Raises:
        InvalidRequestError: the message says what to do instead.
    """
    if shape == "parquet" and not output and sys.stdout.isatty():
        raise InvalidRequestError(
            "parquet is binary: use --output FILE, or redirect standard output to a file"
        )


def write_output(content: str | bytes, output: str | None) -> None:
    """Print the content, or write it to the file.

    Raises:
        InvalidRequestError: the file cannot be written.
    """
    if not output:
        click.echo(content, nl=False)
        return
    data = content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content
    try:
        Path(output).write_bytes(data)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "invalid name"
        raise InvalidRequestError(f"cannot write {output!r}: {reason}") from None
