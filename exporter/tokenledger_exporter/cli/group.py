"""Keeps a password off the command line, where every user of the machine can read it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

_OPTION: Final = "--database-url"


def without_password(words: Sequence[str]) -> tuple[str, list[str]]:
    """The last database URL that holds a password, and the words without it.

    Args:
        words: a command line, interpreter included.

    Returns:
        "" and the same words where no URL holds a password.
    """
    url = ""
    kept: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        if name != _OPTION or (not equals and not rest):
            kept.append(word)
            continue
        given = value if equals else rest.pop(0)
        if _has_password(given):
            url = given
        else:
            kept += [word] if equals else [word, given]
    return (url, kept) if url else ("", list(words))


def _has_password(url: str) -> bool:
    import psycopg
    from psycopg.conninfo import conninfo_to_dict

    try:
        return bool(conninfo_to_dict(url).get("password"))
    except psycopg.ProgrammingError:
        # It cannot be used, but who typed it may have meant one.
        return "@" in url
