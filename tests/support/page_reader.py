"""Reads a page of the dashboard as a test needs it: its tables, tags and links."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import TYPE_CHECKING

from typing_extensions import override

if TYPE_CHECKING:
    from support.dashboard import Dashboard


@dataclass
class Cell:
    """One table cell: its text, the exact value in it, and where it links to."""

    text: str = ""
    value: str | None = None
    links: list[str] = field(default_factory=list[str])


class PageReader(HTMLParser):
    """The tables, tags and links of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[Cell]] = []
        self.values: list[str] = []
        self.text = ""
        self._cell: Cell | None = None
        self.feed(text)

    @override
    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.tags.append((tag, attributes))
        if tag == "tr":
            self.rows.append([])
        if tag == "td":
            self._cell = Cell()
            self.rows[-1].append(self._cell)
        if tag == "data":
            self.values.append(str(attributes["value"]))
            if self._cell is not None:
                self._cell.value = attributes["value"]
        if tag == "a" and self._cell is not None:
            self._cell.links.append(str(attributes["href"]))

    @override
    def handle_endtag(self, tag: str) -> None:
        if tag == "td":
            self._cell = None

    @override
    def handle_data(self, data: str) -> None:
        self.text += data
        if self._cell is not None:
            self._cell.text += data


def read(dashboard: Dashboard, path: str) -> PageReader:
    """The page at a path of a dashboard."""
    response = dashboard.get(path)
    assert response.status == 200, response.body
    return PageReader(response.body.decode())
