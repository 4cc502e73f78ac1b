"""Remove a password from the command line, where every user of the machine can read it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

_OPTION: Final = "--database-url"


def without_password(words: Sequence[str]) -> tuple[str, list[str]]:
    """Split the last database URL that contains a password from a command line.

    Args:
        words: the command line, including the interpreter.

    Returns:
        The URL and the other words; "" and all words if no URL contains a password.
    """
    url = ""
    remaining: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        if name != _OPTION or (not equals and not rest):
            remaining.append(word)
            continue
        candidate = value if equals else rest.pop(0)
        if _has_password(candidate):
            url = candidate
        else:
            remaining += [word] if equals else [word, candidate]
    return (url, remaining) if url else ("", list(words))


def _has_password(url: str) -> bool:
    import psycopg
    from psycopg.conninfo import conninfo_to_dict

    try:
        return bool(conninfo_to_dict(url).get("password"))
    except psycopg.ProgrammingError:
        # The URL is invalid, but it may still contain a password.
        return "@" in url
