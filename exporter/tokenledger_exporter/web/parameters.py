"""The parameters of an API request: declared once, for reading, for errors and for OpenAPI."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final

from tokenledger_exporter.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MAX_ITEMS: Final = 50
"""Maximum number of times that a parameter may be repeated."""

MAX_TEXT: Final = 1_024
"""Maximum length of a parameter, in characters."""

_TRUE, _FALSE = frozenset({"true", "1", "yes"}), frozenset({"false", "0", "no"})
_MAX_DIGITS: Final = 12


class ParameterError(InvalidRequestError):
    """A parameter is invalid.

    Args:
        name: the parameter.
        message: what is wrong, and what to use.
        allowed: the allowed values, if they can be listed.
    """

    def __init__(self, name: str, message: str, allowed: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.name: Final = name
        self.allowed: Final = tuple(allowed)


class NotFoundError(ParameterError):
    """A parameter is valid, and what it names does not exist."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One query parameter.

    Args:
        name: its name.
        description: what it does, for OpenAPI.
        kind: `string`, `integer`, `boolean`, or `array` for one that may be repeated.
        default: its value if it is missing; `None` means that there is none.
        minimum: the smallest integer.
        maximum: the largest integer.
        choices: the allowed strings; empty allows any.
    """

    name: str
    description: str
    kind: str = "string"
    default: Any = None
    minimum: int = 1
    maximum: int = 1_000
    choices: tuple[str, ...] = ()

    def read(self, texts: list[str]) -> object:
        """The value of the texts in the query string.

        Raises:
            ParameterError: a text is not a value of this parameter.
        """
        if not texts:
            return [] if self.kind == "array" else self.default
        if any(len(text) > MAX_TEXT for text in texts):
            raise ParameterError(self.name, f"{self.name} is longer than {MAX_TEXT:,} characters")
        if self.kind == "array":
            if len(texts) > MAX_ITEMS:
                raise ParameterError(self.name, f"{self.name} is there more than {MAX_ITEMS} times")
            return texts
        if any("\0" in text for text in texts):
            raise ParameterError(self.name, f"{self.name} has a NUL character")
        if len(texts) > 1:
            raise ParameterError(self.name, f"{self.name} is given {len(texts)} times: use one")
        [text] = texts
        if self.kind == "integer":
            return self._integer(text)
        if self.kind == "boolean":
            return self._boolean(text)
        if self.choices and text not in self.choices:
            one_of = ", ".join(self.choices)
            message = f"{self.name} must be one of {one_of}, not {text!r}"
            raise ParameterError(self.name, message, self.choices)
        return text

    def schema(self) -> dict[str, Any]:
        """Its JSON Schema."""
        if self.kind == "array":
            return {
                "type": "array",
                "maxItems": MAX_ITEMS,
                "items": {"type": "string", "maxLength": MAX_TEXT},
            }
        schema: dict[str, Any] = {"type": self.kind}
        if self.kind == "integer":
            schema |= {"minimum": self.minimum, "maximum": self.maximum}
        if self.kind == "string":
            schema["maxLength"] = MAX_TEXT
        if self.choices:
            schema["enum"] = list(self.choices)
        if self.default is not None:
            schema["default"] = self.default
        return schema

    def _integer(self, text: str) -> int:
        digits = text.removeprefix("-")
        if len(digits) <= _MAX_DIGITS and digits.isascii() and digits.isdigit():
            number = int(text)
            if self.minimum <= number <= self.maximum:
                return number
        message = (
            f"{self.name} must be a whole number from {self.minimum:,} to {self.maximum:,}, "
            f"not {text!r}"
        )
        raise ParameterError(self.name, message)

    def _boolean(self, text: str) -> bool:
        word = text.lower()
        if word not in _TRUE | _FALSE:
            message = f"{self.name} must be true or false, not {text!r}"
            raise ParameterError(self.name, message, ("true", "false"))
        return word in _TRUE


def read_parameters(
    parameters: Sequence[Parameter], query: Iterable[tuple[str, str]]
) -> dict[str, Any]:
    """The values of a query string by parameter.

    Raises:
        ParameterError: a parameter is unknown, or its value is invalid.
    """
    texts: dict[str, list[str]] = {parameter.name: [] for parameter in parameters}
    for name, text in query:
        if name not in texts:
            close = get_close_matches(name, texts, 1)
            hint = f"; did you mean {close[0]}?" if close else ""
            known = ", ".join(texts) or "none"
            message = f"unknown parameter {name[:MAX_TEXT]!r}{hint} Known parameters: {known}"
            raise ParameterError(name[:MAX_TEXT], message, tuple(texts))
        texts[name].append(text)
    return {parameter.name: parameter.read(texts[parameter.name]) for parameter in parameters}
