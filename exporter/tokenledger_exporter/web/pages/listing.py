"""What pages with long tables share: pages of rows, files of the same rows, and links to names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import quote

from tokenledger_exporter.render.documents import plain
from tokenledger_exporter.render.table import write_csv
from tokenledger_exporter.web.pages.view import VIEW_PARAMETERS, View

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tokenledger_exporter.render.table import Cell
    from tokenledger_exporter.web.parameters import Parameter

CSV: Final = "text/csv; charset=utf-8"
"""Media type of a file."""

_POSITIONS: Final = frozenset({"page", "older", "newer"})


def view_of(path: str, values: Mapping[str, Any], parameters: Sequence[Parameter] = ()) -> View:
    """The view of a request; its links keep the page's own parameters and begin at the first page.

    Args:
        path: path of the page.
        values: all values of the request.
        parameters: the page's own parameters.
    """
    shared = {parameter.name: values[parameter.name] for parameter in VIEW_PARAMETERS}
    own_values = changed(values, parameters)
    return View.of(path, shared | {n: v for n, v in own_values.items() if n not in _POSITIONS})


def changed(values: Mapping[str, Any], parameters: Sequence[Parameter]) -> dict[str, Any]:
    """The values that differ from their defaults, for links."""
    return {
        parameter.name: values[parameter.name]
        for parameter in parameters
        if values[parameter.name] not in ([], parameter.default)
    }


def fields_of(view: View) -> list[tuple[str, str]]:
    """The view's own parameters that differ from their defaults, for hidden fields of a form."""
    pairs: list[tuple[str, str]] = []
    for name, value in changed(view.values, VIEW_PARAMETERS).items():
        texts = cast("list[object]", value) if isinstance(value, list) else [value]
        pairs += [(name, str(text)) for text in texts]
    return pairs


def path_of(folder: str, name: str) -> str:
    """The path of the page of a name that a sender chose.

    A browser takes `.` and `..` for folders, so these two have no page of their own.
    """
    return folder if name in {".", ".."} else f"{folder}/{quote(name, safe='')}"


def csv_of(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as CSV: money with all digits, times in UTC."""
    return write_csv(
        columns, [[cast("Cell", plain(row[name])) for name in columns] for row in rows]
    )
