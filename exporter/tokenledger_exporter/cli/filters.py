"""Conditions on dimensions as a command line has them: `dimension=value`, as often as needed."""

from __future__ import annotations

from tokenledger_exporter.errors import InvalidRequestError


def conditions(given: tuple[str, ...]) -> dict[str, list[str]]:
    """Dimension -> values; a value may hold further equals signs.

    Raises:
        UsageError: one has none.
    """
    found: dict[str, list[str]] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            raise InvalidRequestError(f"{text!r} is no condition: write it as dimension=value")
        found.setdefault(name.strip(), []).append(value)
    return found
