"""A tool: its name, what an agent reads of it, its arguments, and the function that answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tokenledger_exporter.mcp_server.arguments import read_arguments

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import psycopg

    from tokenledger_exporter.mcp_server.answer import Answer
    from tokenledger_exporter.mcp_server.arguments import Argument

    Connection = psycopg.Connection[Any]


@dataclass(frozen=True, slots=True)
class LedgerTool:
    """One tool.

    Args:
        name: its name.
        title: its name for people.
        description: when to use it; a constant of this package, never a text of the ledger.
        arguments: its arguments.
        answer: reads the ledger; gets the values of all arguments.
    """

    name: str
    title: str
    description: str
    arguments: tuple[Argument, ...]
    answer: Callable[[Connection, Mapping[str, Any]], Answer]

    def schema(self) -> dict[str, Any]:
        """The JSON Schema of its arguments."""
        return {
            "type": "object",
            "properties": {argument.name: argument.schema() for argument in self.arguments},
            "required": [argument.name for argument in self.arguments if argument.is_required],
            "additionalProperties": False,
        }

    def call(self, connection: Connection, values: Mapping[str, object]) -> Answer:
        """The answer.

        Raises:
            ArgumentError: an argument is invalid.
            LedgerError: the ledger cannot answer.
        """
        return self.answer(connection, read_arguments(self.arguments, values))
