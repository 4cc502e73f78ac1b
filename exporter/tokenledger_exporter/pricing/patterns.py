"""Patterns of model names: regular expressions that cannot take long, whatever name they meet.

Python's matcher tries paths through a pattern one after the other, and holds the interpreter while
it does. So the paths are counted before a pattern is used: a part that repeats counts the letters
of the longest name, parts in a row multiply, alternatives add. A group that repeats without end has
no bound, and is refused.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from tokenledger_exporter.errors import InvalidRequestError
from tokenledger_exporter.log import warn

MAX_NAME_LENGTH: Final = 255
"""Letters of a model's name that are looked at."""

_LETTERS: Final = MAX_NAME_LENGTH + 1
# A search begins anywhere, so this leaves two parts that repeat.
_MAX_PATHS: Final = 2 * _LETTERS**3
_MAX_TEXT: Final = 2_000
_MAX_DEPTH: Final = 20
_GROUP_STARTS: Final = ("(?:", "(?=", "(?!")
_REPEAT: Final = re.compile(r"\{(\d{0,4})(,?)(\d{0,4})\}")
_CLASS: Final = re.compile(r"\[\^?\]?(?:\\.|[^\]\\])*\]", re.DOTALL)
# An escaped digit other than 0 is a reference to a group, and so is (?P=name).
_REFERENCE: Final = re.compile(r"\\[1-9]")


def compile_pattern(text: str) -> re.Pattern[str]:
    """The pattern, ready to search a lower-case name.

    Raises:
        UsageError: it is no regular expression, or could take long.
    """
    found = _compiled(text)
    if isinstance(found, str):
        raise InvalidRequestError(f"{text[:80]!r} cannot be a pattern of model names: {found}")
    return found


def search(text: str, name: str) -> bool:
    """Whether a pattern of the price book is found in a lower-case name.

    One that could take long is found in none, and that is logged: it was not added by this release.
    """
    found = _compiled(text)
    if isinstance(found, str):
        _warn_once(text, found)
        return False
    return bool(found.search(name[:MAX_NAME_LENGTH]))


@lru_cache(maxsize=8192)
def _compiled(text: str) -> re.Pattern[str] | str:
    """The pattern, or why there is none."""
    if len(text) > _MAX_TEXT and _REPEAT.search(text):
        return f"it is longer than {_MAX_TEXT} letters"
    try:
        made = re.compile(text)
        paths = _Paths(text).count()
    except (re.error, RecursionError, OverflowError):
        return "it is no regular expression"
    except _UnboundedError as error:
        return str(error)
    if paths > _MAX_PATHS:
        return "too many of its parts repeat or may be left out: two '.*' are the most"
    return made


@lru_cache(maxsize=256)
def _warn_once(text: str, reason: str) -> None:
    warn(
        "price_pattern_refused", f"the pattern {text[:80]!r} of the price book is unused: {reason}"
    )


class _UnboundedError(Exception):
    """There is no bound to the paths of a pattern."""


class _Paths:
    """Counts the paths through a pattern that `re` has compiled."""

    def __init__(self, text: str) -> None:
        self._text: Final = text
        self._at: int = 0
        self._looking_ahead: int = 0

    def count(self) -> int:
        """How many there are, at most, wherever in a name the search begins."""
        paths = self._sequence(0)
        # With another alternative beside it, the anchor is not for the whole.
        is_anchored = self._text.startswith("^") and self._at == len(self._text)
        while self._at < len(self._text):
            self._at += 1
            paths += self._sequence(0)
        return (paths + self._looking_ahead) * (1 if is_anchored else _LETTERS)

    def _alternatives(self, depth: int) -> int:
        if depth > _MAX_DEPTH:
            raise _UnboundedError("its groups are nested too deep")
        paths = self._sequence(depth)
        while self._at < len(self._text) and self._text[self._at] == "|":
            self._at += 1
            paths += self._sequence(depth)
        return paths

    def _sequence(self, depth: int) -> int:
        paths = 1
        while self._at < len(self._text) and self._text[self._at] not in "|)":
            is_group = self._text[self._at] == "("
            looks_ahead = self._text.startswith(("(?=", "(?!"), self._at)
            inner = self._group(depth) if is_group else self._letter()
            if looks_ahead:
                # It is not entered again when what follows it fails.
                self._looking_ahead += paths * inner
                inner = 1
            paths *= self._repeated(inner, is_group=is_group)
            if paths > _MAX_PATHS:
                # Whatever follows, it is too many; and the number stays small.
                paths = _MAX_PATHS + 1
        return paths

    def _group(self, depth: int) -> int:
        rest = self._text[self._at : self._at + 3]
        if rest.startswith("(?") and rest not in _GROUP_STARTS:
            raise _UnboundedError("of groups, it may have (...), (?:...), (?=...) and (?!...)")
        self._at += 3 if rest.startswith("(?") else 1
        paths = self._alternatives(depth + 1)
        self._at += 1
        return paths

    def _letter(self) -> int:
        if _REFERENCE.match(self._text, self._at):
            raise _UnboundedError("it refers back to a group")
        found = _CLASS.match(self._text, self._at)
        length = 2 if self._text[self._at] == "\\" else 1
        self._at = found.end() if found else self._at + length
        return 1

    def _repeated(self, inner: int, *, is_group: bool) -> int:
        """The paths of a part with what follows it: `*`, `+`, `?`, `{2,3}`, or nothing."""
        least, most = self._times()
        if most is None and (is_group or inner > 1):
            raise _UnboundedError("a group of it repeats without end")
        if most is None:
            return _LETTERS
        if inner == 1:
            return most - least + 1
        if most > _MAX_DEPTH:
            raise _UnboundedError("a group of it repeats too often")
        return sum(inner**times for times in range(least, most + 1))

    def _times(self) -> tuple[int, int | None]:
        letter = self._text[self._at : self._at + 1]
        found = _REPEAT.match(self._text, self._at)
        if letter and letter in "*+?":
            self._at += 1
            times: tuple[int, int | None] = (0, 1) if letter == "?" else (0, None)
        elif found and (found[1] or found[3]):
            self._at = found.end()
            least = int(found[1] or 0)
            most = int(found[3]) if found[3] else None if found[2] else least
            times = (least, most)
        else:
            return 1, 1
        # Lazy and possessive forms take the same paths, or fewer.
        if self._text[self._at : self._at + 1] in {"?", "+"}:
            self._at += 1
        return times
