"""Logs which person a request shows, before it is answered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tokenledger_exporter.db.view_log import PersonView, ViewLog
from tokenledger_exporter.errors import DatabaseUnreachableError, LedgerError
from tokenledger_exporter.log import warn
from tokenledger_exporter.web.request_values import conditions
from tokenledger_exporter.web.sign_in.viewer import MACHINE
from tokenledger_semconv.dimensions import dimension_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tokenledger_exporter.web.sign_in.viewer import Viewer

_WHERE: Final = "where"
_PERSONAL: Final = frozenset({"user", "session"})
# Parameters of pages and endpoints, in a path or a query, that name one of something personal.
_DIMENSIONS: Final = {
    "user": "user",
    "user_id": "user",
    "session": "session",
    "session_id": "session",
    "trace_id": "trace",
    "event_id": "call",
}


def views_of(values: Mapping[str, Any]) -> list[PersonView]:
    """The persons, sessions, traces and calls that a request names, each once.

    Args:
        values: its parameters, those of the path included.

    Raises:
        ParameterError: a filter is invalid.
    """
    views = [
        PersonView(dimension, str(values[name]))
        for name, dimension in _DIMENSIONS.items()
        if values.get(name)
    ]
    # A run is a trace or a session, as its kind says.
    if values.get("run_id"):
        views.append(PersonView(str(values["kind"]), str(values["run_id"])))
    # The search of users finds one user as a filter does.
    if values.get("search"):
        views.append(PersonView("user", str(values["search"])))
    for name, texts in conditions(list(values.get(_WHERE) or ())).items():
        dimension = dimension_name(name)
        if dimension in _PERSONAL:
            views += [PersonView(dimension, text) for text in texts]
    return list(dict.fromkeys(views))


class Audit:
    """Logs views of persons.

    Args:
        database_url: the ledger.
    """

    def __init__(self, database_url: str) -> None:
        self._log: Final = ViewLog(database_url)

    def note(self, viewer: Viewer, page: str, values: Mapping[str, Any]) -> None:
        """Log what a request is about to show.

        On this machine, whose user can read the ledger anyway, a failure is a line in the log.

        Raises:
            DatabaseUnreachableError: the view could not be logged, so it must not be shown.
        """
        views = views_of(values)
        if not views:
            return
        try:
            self._log.add(viewer.kind, viewer.name, viewer.organization, page, views)
        except LedgerError as error:
            if viewer.kind == MACHINE:
                warn("view_not_logged", f"who looked at a person was not logged: {error}")
                return
            raise DatabaseUnreachableError(
                f"this page names a person, and that you look at it could not be logged: {error}"
            ) from None

    def close(self) -> None:
        """Close its connection."""
        self._log.close()
