"""Parse the filters of a command line: `dimension=value`, repeatable."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tokenledger_exporter.errors import InvalidRequestError
from tokenledger_semconv.dimensions import dimension_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import ParamSpec

    P = ParamSpec("P")


def where_option(command: Callable[P, None]) -> Callable[P, None]:
    """Add `--where` to a command that reads calls."""
    return click.option(
        "--where",
        multiple=True,
        metavar="DIMENSION=VALUE",
        help="Filter; repeatable. Values of one dimension are alternatives.",
    )(command)


def conditions(filters: tuple[str, ...]) -> dict[str, list[str]]:
    """Map each dimension to its values; a value may contain equals signs.

    Raises:
        InvalidRequestError: a filter contains no equals sign.
    """
    values: dict[str, list[str]] = {}
    for text in filters:
        name, equals, value = text.partition("=")
        if not equals:
            raise InvalidRequestError(f"invalid filter {text!r}: use DIMENSION=VALUE")
        values.setdefault(dimension_name(name.strip()), []).append(value)
    return values
