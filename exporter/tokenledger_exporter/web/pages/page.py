"""What a page is: its path, its parameters and what it answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    import psycopg

    from tokenledger_exporter.web.parameters import Parameter

    Connection = psycopg.Connection[Any]


@dataclass(frozen=True, slots=True)
class Page:
    """One page.

    Args:
        path: its path.
        parameters: its query parameters.
        answer: makes its text from a connection and the values.
        media_type: type of that text.
        is_part: whether it is a part of another page, which loads it.
    """

    path: str
    parameters: tuple[Parameter, ...]
    answer: Callable[[Connection, dict[str, Any]], str]
    media_type: str = "text/html; charset=utf-8"
    is_part: bool = False
