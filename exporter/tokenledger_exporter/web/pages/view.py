"""What every page of figures shares: a period, a time zone and filters, all in the address."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import urlencode

from tokenledger_exporter.db.dimensions import zone_of
from tokenledger_exporter.domain.time_expressions import until_now
from tokenledger_exporter.queries.report import EVERYTHING, ReportRequest
from tokenledger_exporter.web.ledger_parameters import period_parameters
from tokenledger_exporter.web.request_values import conditions, period

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

DEFAULT_SINCE: Final = "30d"
"""Start of a period that the address does not name."""

VIEW_PARAMETERS: Final = period_parameters(DEFAULT_SINCE)
"""The parameters that links between pages carry along."""

PRESETS: Final = (
    ("24 hours", {"since": "24h"}),
    ("7 days", {"since": "7d"}),
    ("30 days", {"since": "30d"}),
    ("90 days", {"since": "90d"}),
    ("This month", {"month": "this"}),
    ("Last month", {"month": "last"}),
)
"""Periods of one click: title -> parameters."""

_DEFAULTS: Final = {each.name: each.default for each in VIEW_PARAMETERS}
_PERIOD: Final = ("since", "until", "month")


def link(path: str, values: Mapping[str, Any]) -> str:
    """A path with a query string; empty values are left out, lists repeat their name."""
    pairs: list[tuple[str, str]] = []
    for name, value in values.items():
        texts = cast("list[object]", value) if isinstance(value, list) else [value]
        pairs += [(name, _text(text)) for text in texts if text is not None and text != ""]
    return f"{path}?{urlencode(pairs)}" if pairs else path


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


@dataclass(frozen=True, slots=True)
class View:
    """The period and the filters of one request, and links that carry them along.

    Args:
        path: path of the page.
        values: all parameters of the page.
        since: start of the period, included.
        until: its end, excluded; it may be in the future, as that of the current month.
        where: dimension -> its values.
    """

    path: str
    values: Mapping[str, Any]
    since: datetime
    until: datetime
    where: Mapping[str, list[str]]

    @classmethod
    def of(cls, path: str, values: Mapping[str, Any]) -> View:
        """The view of a request.

        Raises:
            ParameterError: a time, the time zone or a filter is invalid.
        """
        since, until = period(dict(values))
        return cls(path, values, since, until, conditions(values["where"]))

    @property
    def zone(self) -> str:
        """Name of the time zone of days."""
        return str(self.values["timezone"])

    @property
    def end(self) -> datetime:
        """The end of what can have calls: a month that is not over ends now."""
        return max(self.since, min(self.until, until_now()))

    @property
    def since_text(self) -> str:
        """Start of the period in its time zone, to the minute."""
        return self._in_zone(self.since)

    @property
    def until_text(self) -> str:
        """Its end, or now, in its time zone, to the minute, with the zone's name."""
        return f"{self._in_zone(self.end)} {self.zone}"

    @property
    def filters(self) -> list[str]:
        """The filters as the address has them."""
        return [text for text in self.values["where"] if text.strip()]

    def report(self, *by: str, limit: int = EVERYTHING) -> ReportRequest:
        """A report of this view by dimensions."""
        where = dict(self.where)
        return ReportRequest(by, self.since, self.until, limit=limit, where=where, zone=self.zone)

    def link(self, path: str, **changes: object) -> str:
        """A link to another page with the same period and filters."""
        return link(path, {**self._shared(), **changes})

    def here(self, **changes: object) -> str:
        """A link to this page with changed parameters; a new period replaces all of the old one."""
        values = {**self._own(), **self._shared()}
        if any(name in changes for name in _PERIOD):
            values = {name: value for name, value in values.items() if name not in _PERIOD}
        return link(self.path, {**values, **changes})

    def narrowed(self, dimension: str, value: str, path: str = "", **more: object) -> str:
        """A link with one more filter: to this page, or to another one with more parameters."""
        text = f"{dimension}={value}"
        filters = [each for each in self.filters if each != text]
        changes = {"where": [*filters, text], **more}
        return self.link(path, **changes) if path else self.here(**changes)

    def without(self, text: str) -> str:
        """A link to this page without a filter."""
        return self.here(where=[each for each in self.filters if each != text])

    def is_preset(self, preset: Mapping[str, str]) -> bool:
        """Whether the period is this one of `PRESETS`."""
        named = {**{name: _DEFAULTS[name] for name in _PERIOD}, **preset}
        return all(self.values[name] == value for name, value in named.items())

    def own(self) -> list[tuple[str, str]]:
        """The parameters of this page that are not part of the view, for hidden fields."""
        return [(name, str(value)) for name, value in self._own().items()]

    def _in_zone(self, moment: datetime) -> str:
        return moment.astimezone(zone_of(self.zone)).strftime("%Y-%m-%d %H:%M")

    def _shared(self) -> dict[str, Any]:
        shared = {
            name: self.values[name]
            for name, default in _DEFAULTS.items()
            if self.values[name] != default
        }
        return {**shared, **({"where": self.filters} if "where" in shared else {})}

    def _own(self) -> dict[str, Any]:
        return {
            name: value
            for name, value in self.values.items()
            if name not in _DEFAULTS and value is not None and value != "" and value is not False
        }
