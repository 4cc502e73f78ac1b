"""Parse the filters of a command line: `dimension=value`, repeatable."""

from __future__ import annotations

from tokenledger_exporter.errors import InvalidRequestError


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
        values.setdefault(name.strip(), []).append(value)
    return values
