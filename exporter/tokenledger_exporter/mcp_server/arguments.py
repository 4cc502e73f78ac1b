"""Arguments of tools: declared once, for the schema that an agent reads and for checks."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timezone
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final, cast

from tokenledger_exporter.db.dimensions import BUCKETS, dimension_names, group, narrowed
from tokenledger_exporter.domain.time_expressions import FORMS, parse_end, parse_moment, until_now
from tokenledger_exporter.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from tokenledger_exporter.db.dimensions import Where

MAX_TEXT: Final = 1_024
"""Maximum length of a text, in characters."""

_MAX_VALUES: Final = 100
_TYPES: Final = {"string": str, "integer": int, "boolean": bool, "array": list, "object": dict}


class ArgumentError(InvalidRequestError):
    """An argument is invalid; the message begins with its name and has the remedy."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(f"argument {name!r}: {message}")


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of a tool.

    Args:
        name: its name.
        description: what it does, for the agent.
        kind: its JSON type; an array is of strings, an object maps dimensions to values.
        default: its value if it is missing; `None` has none.
        is_required: whether it must be there.
        minimum: the smallest integer.
        maximum: the largest integer.
        choices: the allowed texts; empty allows any.
    """

    name: str
    description: str
    kind: str = "string"
    default: Any = None
    is_required: bool = False
    minimum: int = 1
    maximum: int = 1_000
    choices: tuple[str, ...] = ()

    def schema(self) -> dict[str, Any]:
        """Its JSON Schema."""
        schema: dict[str, Any] = {"type": self.kind, "description": self.description}
        if self.kind == "string":
            schema["maxLength"] = MAX_TEXT
        if self.choices:
            schema["enum"] = list(self.choices)
        if self.kind == "integer":
            schema |= {"minimum": self.minimum, "maximum": self.maximum}
        if self.kind == "array":
            schema["items"] = {"type": "string", "maxLength": MAX_TEXT}
        if self.kind == "object":
            texts = {"type": "array", "items": {"type": "string"}}
            schema["additionalProperties"] = {"anyOf": [{"type": "string"}, texts]}
        if self.default is not None:
            schema["default"] = self.default
        return schema

    def read(self, value: Any) -> Any:  # noqa: ANN401 - JSON
        """The value, checked.

        Raises:
            ArgumentError: it is not a value of this argument.
        """
        if value is None:
            if self.is_required:
                raise ArgumentError(self.name, "it is missing; it is required")
            return self.default
        is_number = isinstance(value, int) and not isinstance(value, bool)
        if not isinstance(value, _TYPES[self.kind]) or (self.kind == "integer") != is_number:
            raise ArgumentError(self.name, f"it must be a JSON {self.kind}, not {value!r:.100}")
        number = cast("int", value) if is_number else self.minimum
        if not self.minimum <= number <= self.maximum:
            raise ArgumentError(
                self.name,
                f"it must be a whole number from {self.minimum:,} to {self.maximum:,}, not {value}",
            )
        if self.kind == "array":
            return self._texts(cast("list[object]", value))
        checked = cast("Any", value)
        return self._text(checked) if self.kind == "string" else checked

    def _texts(self, values: list[object]) -> list[str]:
        if len(values) > _MAX_VALUES:
            raise ArgumentError(self.name, f"it has more than {_MAX_VALUES} values: use fewer")
        return [self._text(value) for value in values]

    def _text(self, value: object) -> str:
        if not isinstance(value, str):
            raise ArgumentError(self.name, f"it must be text, not {value!r:.100}")
        if len(value) > MAX_TEXT:
            raise ArgumentError(self.name, f"it is longer than {MAX_TEXT:,} characters")
        if self.choices and value not in self.choices:
            one_of = ", ".join(self.choices)
            raise ArgumentError(self.name, f"unknown value {value!r:.100}; use one of {one_of}")
        return value


def read_arguments(arguments: Sequence[Argument], values: Mapping[str, object]) -> dict[str, Any]:
    """The values of all arguments.

    Raises:
        ArgumentError: an argument is unknown, missing or invalid.
    """
    names = [argument.name for argument in arguments]
    for name in values:
        if name not in names:
            close = get_close_matches(name, names, 1)
            hint = f"did you mean {close[0]!r}? " if close else ""
            raise ArgumentError(name[:MAX_TEXT], f"unknown; {hint}use {', '.join(names)}")
    return {argument.name: argument.read(values.get(argument.name)) for argument in arguments}


SINCE: Final = Argument("since", f"Start of the period, UTC: {FORMS}.", default="7d")
UNTIL: Final = Argument(
    "until", "End of the period, in the same forms; a named day is included.", default="now"
)
WHERE: Final = Argument(
    "where",
    "Filters: a dimension mapped to a value or to a list of alternatives, such as "
    '{"feature": "chat", "model": ["gpt-4o"]}. Dimensions: '
    + ", ".join(name for name in dimension_names() if name not in BUCKETS),
    "object",
)


def limit_argument(default: int, maximum: int, of: str) -> Argument:
    """How many entries an answer may have."""
    return Argument(
        "limit", f"Maximum number of {of}.", "integer", default=default, maximum=maximum
    )


def period_of(values: Mapping[str, Any]) -> tuple[datetime, datetime]:
    """The start, included, and the end, excluded, in UTC.

    Raises:
        ArgumentError: a time has no known form, or the period is empty.
    """
    start = _moment("since", values["since"])
    is_now = values["until"].strip().lower() == "now"
    until = until_now() if is_now else _moment("until", values["until"])
    if start >= until:
        raise ArgumentError(
            "since", f"{start.isoformat()} is not before the end {until.isoformat()}"
        )
    return start, until


def _moment(name: str, text: str) -> datetime:
    try:
        moment = parse_end(text) if name == "until" else parse_moment(text)
        return moment.astimezone(timezone.utc)
    except (InvalidRequestError, OverflowError) as error:
        raise ArgumentError(name, str(error)) from None


def where_of(values: Mapping[str, Any]) -> Where:
    """The filters.

    Raises:
        ArgumentError: a dimension is unknown, or a value is no text.
    """
    filters: dict[str, list[str]] = {}
    text = Argument("where", "")
    for name, value in cast("dict[str, object]", values["where"] or {}).items():
        alternatives = cast("list[object]", value) if isinstance(value, list) else [value]
        if len(alternatives) > _MAX_VALUES:
            raise ArgumentError("where", f"{name!r} has more than {_MAX_VALUES} values: use fewer")
        filters[name] = [text.read(each) for each in alternatives if each is not None]
    try:
        narrowed(filters)
    except InvalidRequestError as error:
        raise ArgumentError("where", str(error)) from None
    return filters


def checked_dimensions(name: str, dimensions: Sequence[str]) -> list[str]:
    """The dimensions, each of them known.

    Raises:
        ArgumentError: one is unknown; the message lists the valid ones.
    """
    try:
        for dimension in dimensions:
            group(dimension)
    except InvalidRequestError as error:
        raise ArgumentError(name, str(error)) from None
    return list(dimensions)
