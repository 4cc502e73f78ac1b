"""Whose cost changed: panels of the users, sessions and days behind a difference.

The page of the causes loads each of them after itself: sessions have no sums, so that every call of
both periods is read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tokenledger_exporter.db.steps import run_steps
from tokenledger_exporter.queries.report import report_steps
from tokenledger_exporter.queries.why.contributors import contributors
from tokenledger_exporter.web.pages.page import Page
from tokenledger_exporter.web.pages.template import html
from tokenledger_exporter.web.pages.view import VIEW_PARAMETERS, View
from tokenledger_exporter.web.parameters import Parameter
from tokenledger_exporter.web.request_values import build_why

if TYPE_CHECKING:
    from tokenledger_exporter.web.pages.page import Connection

_PATH: Final = "/contributors"
_DAY: Final = "day"
CONTRIBUTORS_BY: Final = ("user", "session", _DAY)
"""What a panel can be about."""

_ROWS: Final = 5
_BY: Final = Parameter("by", "What the panel is about.", default="user", choices=CONTRIBUTORS_BY)


def _panel(connection: Connection, values: dict[str, Any]) -> str:
    by = values["by"]
    view = View.of("/", {name: values[name] for name in values if name != "by"})
    if by == _DAY:
        days = run_steps(connection, report_steps(view.report(_DAY, limit=_ROWS)))
        return html("contributors_days", "", view, report=days)
    report = build_why(connection, {**values, "detail": False})
    changed = contributors(report)
    shown = changed[:_ROWS]
    return html("contributors", "", view, by=by, report=report, shown=shown, count=len(changed))


CONTRIBUTORS: Final = (Page(_PATH, (_BY, *VIEW_PARAMETERS), _panel, is_part=True),)
"""The panels."""
