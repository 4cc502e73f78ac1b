"""Renders single calls: as plain values for CSV and JSON, and as one line each."""

from __future__ import annotations

import json
from datetime import timezone as time_zones
from typing import TYPE_CHECKING, Any, Final

from rich.cells import cell_len, set_cell_size

from tokenledger_exporter.plain_text import visible
from tokenledger_exporter.pricing.book import plain_usd

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import tzinfo

    from tokenledger_exporter.render.table import Cell

_ATTRIBUTION: Final = {"user": "user_id", "feature": "feature", "team": "team"}
# From this width on, a line names the parts of the attribution.
_WIDE: Final = 120
_MIN_ATTRIBUTION: Final = 8


def plain_call(call: Mapping[str, Any]) -> dict[str, Cell]:
    """The call with ids, times and money as text; times are UTC."""
    cost = call["cost_usd"]
    return {
        **call,
        "event_id": str(call["event_id"]),
        "timestamp": call["timestamp"].astimezone(time_zones.utc).isoformat(),
        "cost_usd": None if cost is None else plain_usd(cost),
    }


def json_line(call: Mapping[str, Any], columns: tuple[str, ...]) -> str:
    """The call as one line of JSON, without a line break."""
    values = plain_call(call)
    return json.dumps({name: values[name] for name in columns})


def call_line(call: Mapping[str, Any], zone: tzinfo, width: int | None) -> str:
    """The call as one line for people: time, model, tokens, cost, attribution, what is not normal.

    Args:
        call: a row with `FOLLOWED_COLUMNS`.
        zone: time zone of its time.
        width: the terminal's; `None` never cuts, and shows the date too.
    """
    if width is None or width >= _WIDE:
        return _wide_line(call, zone, width)
    model = _cut(visible(call["model"]), 22)
    columns = [_clock(call, zone), model, f"{_tokens(call):>7} tok", f"{shown_cost(call):>11}"]
    notes = remarks(call)
    names = [visible(call[column]) or "-" for column in _ATTRIBUTION.values()]
    if names != ["-"] * len(names):
        room = width - cell_len(" ".join([*columns, "", *notes]))
        columns.append(_cut("/".join(names), max(room, _MIN_ATTRIBUTION)).rstrip())
    return _cut(" ".join([*columns, *notes]), width).rstrip()


def _wide_line(call: Mapping[str, Any], zone: tzinfo, width: int | None) -> str:
    local = call["timestamp"].astimezone(zone)
    columns = [
        _clock(call, zone) if width else f"{local:%Y-%m-%dT%H:%M:%S%z}",
        f"{visible(call['model']):<28}",
        f"{_tokens(call):>9} tokens",
        f"{shown_cost(call):>12}",
        *(
            f"{name}={visible(call[column])}"
            for name, column in _ATTRIBUTION.items()
            if call[column]
        ),
        *remarks(call),
    ]
    line = "  ".join(columns)
    return _cut(line, width).rstrip() if width else line


def _clock(call: Mapping[str, Any], zone: tzinfo) -> str:
    return f"{call['timestamp'].astimezone(zone):%m-%d %H:%M:%S}"


def _tokens(call: Mapping[str, Any]) -> str:
    tokens = call["total_tokens"]
    return "-" if tokens is None else f"{tokens:,}"


def shown_cost(call: Mapping[str, Any]) -> str:
    """The cost with six decimals, with a mark if it is a lower bound, or `unknown`."""
    cost = call["cost_usd"]
    if cost is None:
        return "unknown"
    return f"${cost:,.6f}{'+' if call['cost_status'] == 'partial' else ''}"


def remarks(call: Mapping[str, Any]) -> list[str]:
    """What is not normal about a call, in brackets: its status, its cost status, duplicates."""
    texts: list[str] = []
    if call["status"] == "error":
        texts.append(f"error: {visible(call['error_type'])}" if call["error_type"] else "error")
    if call["cost_status"] != "priced":
        texts.append(call["cost_status"])
    if not call.get("settled", True):
        texts.append("not settled")
    return [f"[{text}]" for text in texts]


def _cut(text: str, width: int) -> str:
    """The text with exactly this width; three dots replace what does not fit."""
    if cell_len(text) <= width:
        return set_cell_size(text, width)
    return set_cell_size(text, width - 3) + "..."
