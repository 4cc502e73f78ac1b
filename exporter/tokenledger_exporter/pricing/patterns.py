"""Patterns of model names: regular expressions with a bounded run time for any name.

Python's matcher backtracks, and holds the interpreter lock while it does. So the possible paths
through a pattern are counted before it is used: a repeated part counts as many paths as the longest
name has characters, consecutive parts multiply, alternatives add. A group that repeats without a
limit has no bound and is refused.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from tokenledger_exporter.errors import InvalidRequestError
from tokenledger_exporter.log import warn

MAX_NAME_LENGTH: Final = 255
"""How many characters of a model name are searched."""

_LETTERS: Final = MAX_NAME_LENGTH + 1
# A search may begin at any character, so this allows two repeated parts.
_MAX_PATHS: Final = 2 * _LETTERS**3
_MAX_TEXT: Final = 2_000
_MAX_DEPTH: Final = 20
_GROUP_STARTS: Final = ("(?:", "(?=", "(?!")
_REPEAT: Final = re.compile(r"\{(\d{0,4})(,?)(\d{0,4})\}")
_CLASS: Final = re.compile(r"\[\^?\]?(?:\\.|[^\]\\])*\]", re.DOTALL)
# An escaped digit other than 0 is a reference to a group, and so is (?P=name).
_REFERENCE: Final = re.compile(r"\\[1-9]")


def compile_pattern(text: str) -> re.Pattern[str]:
    """The compiled pattern, to search a lower-case name.

    Raises:
        InvalidRequestError: it is not a regular expression, or could take too long.
    """
    compiled = _compiled(text)
    if isinstance(compiled, str):
        raise InvalidRequestError(f"invalid model pattern {text[:80]!r}: {compiled}")
    return compiled


def search(text: str, name: str) -> bool:
    """Whether a pattern of the price book matches a lower-case name.

    A pattern that could take too long matches nothing, which is logged: this release does not add
    such patterns.
    """
    compiled = _compiled(text)
    if isinstance(compiled, str):
        _warn_once(text, compiled)
        return False
    return bool(compiled.search(name[:MAX_NAME_LENGTH]))


@lru_cache(maxsize=8192)
def _compiled(text: str) -> re.Pattern[str] | str:
    """The compiled pattern, or why it is refused."""
    if len(text) > _MAX_TEXT and _REPEAT.search(text):
        return f"it is longer than {_MAX_TEXT} characters"
    try:
        compiled = re.compile(text)
        paths = _Paths(text).count()
    except (re.error, RecursionError, OverflowError):
        return "not a regular expression"
    except _UnboundedError as error:
        return str(error)
    if paths > _MAX_PATHS:
        return "too many repeated or optional parts; at most two '.*' are allowed"
    return compiled


@lru_cache(maxsize=256)
def _warn_once(text: str, reason: str) -> None:
    warn("price_pattern_refused", f"the price book's pattern {text[:80]!r} is not used: {reason}")


class _UnboundedError(Exception):
    """There is no bound to the paths of a pattern."""


class _Paths:
    """Counts the paths through a pattern that `re` has compiled."""

    def __init__(self, text: str) -> None:
        self._text: Final = text
        self._at: int = 0
        self._looking_ahead: int = 0

    def count(self) -> int:
        """The maximum number of paths, for a search that begins at any character."""
        paths = self._sequence(0)
        # With more than one alternative, the anchor does not apply to the whole pattern.
        is_anchored = self._text.startswith("^") and self._at == len(self._text)
        while self._at < len(self._text):
            self._at += 1
            paths += self._sequence(0)
        return (paths + self._looking_ahead) * (1 if is_anchored else _LETTERS)

    def _alternatives(self, depth: int) -> int:
        if depth > _MAX_DEPTH:
            raise _UnboundedError("groups are nested too deep")
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
                # A lookahead is not entered again when a later part fails.
                self._looking_ahead += paths * inner
                inner = 1
            paths *= self._repeated(inner, is_group=is_group)
            if paths > _MAX_PATHS:
                # This is too many already; capping it keeps the number small.
                paths = _MAX_PATHS + 1
        return paths

    def _group(self, depth: int) -> int:
        rest = self._text[self._at : self._at + 3]
        if rest.startswith("(?") and rest not in _GROUP_STARTS:
            raise _UnboundedError("only the groups (...), (?:...), (?=...) and (?!...) are allowed")
        self._at += 3 if rest.startswith("(?") else 1
        paths = self._alternatives(depth + 1)
        self._at += 1
        return paths

    def _letter(self) -> int:
        if _REFERENCE.match(self._text, self._at):
            raise _UnboundedError("back-references are not allowed")
        character_class = _CLASS.match(self._text, self._at)
        length = 2 if self._text[self._at] == "\\" else 1
        self._at = character_class.end() if character_class else self._at + length
        return 1

    def _repeated(self, inner: int, *, is_group: bool) -> int:
        """The paths of a part with its quantifier: `*`, `+`, `?`, `{2,3}`, or none."""
        least, most = self._times()
        if most is None and (is_group or inner > 1):
            raise _UnboundedError("a group repeats without a limit")
        if most is None:
            return _LETTERS
        if inner == 1:
            return most - least + 1
        if most > _MAX_DEPTH:
            raise _UnboundedError("a group repeats too often")
        return sum(inner**times for times in range(least, most + 1))

    def _times(self) -> tuple[int, int | None]:
        letter = self._text[self._at : self._at + 1]
        repeat = _REPEAT.match(self._text, self._at)
        if letter and letter in "*+?":
            self._at += 1
            times: tuple[int, int | None] = (0, 1) if letter == "?" else (0, None)
        elif repeat and (repeat[1] or repeat[3]):
            self._at = repeat.end()
            least = int(repeat[1] or 0)
            most = int(repeat[3]) if repeat[3] else None if repeat[2] else least
            times = (least, most)
        else:
            return 1, 1
        # Lazy and possessive quantifiers have the same number of paths, or fewer.
        if self._text[self._at : self._at + 1] in {"?", "+"}:
            self._at += 1
        return times
