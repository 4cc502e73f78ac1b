"""Prints the rows of a command that has no report of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tokenledger_exporter.cli.exit_codes import say

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from tokenledger_exporter.render.table import Cell


def print_rows(
    rows: Sequence[Mapping[str, Cell]], shape: str, none: str, *, optional: Sequence[str] = ()
) -> None:
    """Print rows in a format; a table without rows is the sentence `none`.

    Args:
        rows: the rows, all with the same columns.
        shape: table, json or csv.
        none: what a table says if there are no rows.
        optional: columns that a table leaves out if there is no room.
    """
    from tokenledger_exporter.render.table import render_rows

    if not rows and shape == "table":
        say(none)
        return
    columns = list(rows[0]) if rows else []
    click.echo(render_rows(columns, rows, shape, optional=optional), nl=False)


def minute_text(timestamp: datetime | None) -> str:
    """A time to the minute; "" for none."""
    return f"{timestamp:%Y-%m-%d %H:%M}" if timestamp else ""
