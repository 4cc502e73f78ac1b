"""Checks arguments that an app gives to a query: a value of another type is named, with the remedy.

Types alone do not do that: an app may be written without a type checker, or read a value from a
file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, cast

from tokenledger_exporter.errors import InvalidRequestError

_SHOWN: Final = 60


def check_text(name: str, value: object) -> None:
    """Refuse an argument that is no text.

    Raises:
        InvalidRequestError: the message names the argument.
    """
    if not isinstance(value, str):
        raise InvalidRequestError(f"{name} must be text, not {_shown(value)}")


def check_texts(name: str, values: object) -> None:
    """Refuse an argument that is neither text nor several texts.

    Raises:
        InvalidRequestError: the message names the argument.
    """
    if isinstance(values, str):
        return
    if _texts(values) is None:
        raise InvalidRequestError(f"{name} must be text or a list of texts, not {_shown(values)}")


def check_dimensions(names: Sequence[object]) -> None:
    """Refuse a dimension that is no text, such as a list of them.

    Raises:
        InvalidRequestError: the message shows how to write them.
    """
    for name in names:
        if isinstance(name, str):
            continue
        if texts := _texts(name):
            written = ", ".join(f'"{each}"' for each in texts)
            raise InvalidRequestError(
                f"a dimension must be text, not {_shown(name)}; write each as an argument of its "
                f"own: {written}"
            )
        check_text("a dimension", name)


def check_count(name: str, value: object, *, minimum: int, maximum: int | None = None) -> None:
    """Refuse a number that is not whole, or too small or too large.

    Raises:
        InvalidRequestError: the message says which numbers are allowed.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidRequestError(f"{name} must be a whole number, not {_shown(value)}")
    if value < minimum or (maximum is not None and value > maximum):
        allowed = f"{minimum} or more" if maximum is None else f"{minimum} to {maximum:,}"
        raise InvalidRequestError(f"{name} must be {allowed}, not {value}")


def check_where(where: object) -> None:
    """Refuse filters that do not map dimensions to texts.

    Raises:
        InvalidRequestError: the message has an example.
    """
    if where is None:
        return
    if not isinstance(where, Mapping):
        raise InvalidRequestError(
            f"where must map dimensions to values, such as {{'team': 'ml'}}, not {_shown(where)}"
        )
    for name, values in cast("Mapping[object, object]", where).items():
        check_text("a dimension of where", name)
        check_texts(f"the value of {name!r} in where", values)


def check_time(name: str, value: object) -> None:
    """Refuse a time that is neither a `datetime` nor `None`.

    Raises:
        InvalidRequestError: the message names the argument.
    """
    if value is not None and not isinstance(value, datetime):
        raise InvalidRequestError(
            f"{name} must be a datetime.datetime, not {_shown(value)}; without a time zone it is "
            "UTC"
        )


def _texts(values: object) -> list[str] | None:
    """Several texts as a list; `None` for another value."""
    if not isinstance(values, Sequence | frozenset | set) or isinstance(values, str | bytes):
        return None
    items = list(cast("Sequence[object]", values))
    texts = [each for each in items if isinstance(each, str)]
    return texts if len(texts) == len(items) else None


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"a value of type {type(value).__name__}"
