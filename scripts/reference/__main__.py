"""Write every generated part of the reference into a folder."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from scripts.reference.commands import command_reference, serve_options
from scripts.reference.constants import call_metrics, ledger_metrics, span_attributes
from scripts.reference.python_api import python_api
from scripts.reference.rooms import exporter_rooms, instrumentation_rooms
from scripts.reference.schema import sql_schema
from scripts.reference.settings import settings_table

PARTS: Final = {
    "call-metrics.md": call_metrics,
    "cli.md": command_reference,
    "metrics.md": ledger_metrics,
    "python-api.md": python_api,
    "rooms-exporter.md": exporter_rooms,
    "rooms-instrumentation.md": instrumentation_rooms,
    "serve-options.md": serve_options,
    "settings.md": settings_table,
    "span-attributes.md": span_attributes,
    "sql-schema.md": sql_schema,
}


def write(folder: Path) -> None:
    """Write each part to a file of its own, which the pages include."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, make in PARTS.items():
        (folder / name).write_text(make(), encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
