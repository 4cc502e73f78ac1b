"""An endpoint of the JSON API: path, parameters, answer and schema, declared once for all uses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    import psycopg

    from tokenledger_exporter.render.documents import Document
    from tokenledger_exporter.web.parameters import Parameter

    Connection = psycopg.Connection[Any]
    Answer = Document | list[Document]

PREFIX: Final = "/api/v1"
"""Path of the API."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One path of the API.

    Args:
        path: path below `PREFIX`; `{event_id}` is a part of it.
        name: operation id of OpenAPI.
        summary: what it answers, in one line.
        parameters: its query parameters.
        answer: makes the document from a connection and the values.
        schema: JSON Schema of the document.
    """

    path: str
    name: str
    summary: str
    parameters: tuple[Parameter, ...]
    answer: Callable[[Connection, dict[str, Any]], Answer]
    schema: dict[str, Any]

    @property
    def route(self) -> str:
        """The path as the router takes it: an id of a run is any text, also with slashes."""
        return self.path.replace("{run_id}", "{run_id:path}")
