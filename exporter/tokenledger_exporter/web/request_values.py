"""What the parameters of a request mean: a period, filters, a report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tokenledger_exporter.db.dimensions import group, narrowed, zone_of
from tokenledger_exporter.db.steps import run_steps
from tokenledger_exporter.domain.time_expressions import (
    parse_end,
    parse_moment,
    parse_month,
    until_now,
)
from tokenledger_exporter.errors import InvalidRequestError
from tokenledger_exporter.queries import explain
from tokenledger_exporter.queries.calls import event_id_of
from tokenledger_exporter.queries.measures.measure import measure_steps
from tokenledger_exporter.queries.order import BY_TIME, ORDERS, TOKENS
from tokenledger_exporter.queries.report import ReportRequest, compared_steps, report_steps
from tokenledger_exporter.queries.why import WhyRequest, why_steps
from tokenledger_exporter.web.parameters import NotFoundError, ParameterError

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    import psycopg

    from tokenledger_exporter.queries.explain import Explanation
    from tokenledger_exporter.queries.measures.measure import Measured
    from tokenledger_exporter.queries.report import Report
    from tokenledger_exporter.queries.why import WhyReport


def conditions(texts: list[str]) -> dict[str, list[str]]:
    """The filters of a request: dimension -> its values.

    Raises:
        ParameterError: a filter has no equals sign, or its dimension is unknown.
    """
    values: dict[str, list[str]] = {}
    for text in texts:
        # The field of a form may have been left empty.
        if text.strip():
            name, value = filter_of(text)
            values.setdefault(name, []).append(value)
    checked("where", narrowed, values)
    return values


def filter_of(text: str) -> tuple[str, str]:
    """The dimension and the value of one filter.

    Raises:
        ParameterError: it has no equals sign.
    """
    name, equals, value = text.partition("=")
    if not equals:
        raise ParameterError("where", f"invalid filter {text!r}: use DIMENSION=VALUE")
    # Typed as `user = ann`; the links of pages have no such spaces.
    return name.strip(), value.strip() if name.endswith(" ") else value


def period(values: dict[str, Any]) -> tuple[datetime, datetime]:
    """Start, included, and end, excluded, of a request.

    Raises:
        ParameterError: a time is invalid, or the period is empty.
    """
    zone = checked("timezone", zone_of, values["timezone"])
    if values["month"]:
        month: tuple[datetime, datetime] = checked(
            "month", lambda text: parse_month(text, zone=zone), values["month"]
        )
        return month
    start: datetime = checked("since", lambda text: parse_moment(text, zone=zone), values["since"])
    if values["until"].strip().lower() == "now":
        end = until_now()
    else:
        end = checked("until", lambda text: parse_end(text, zone=zone), values["until"])
    if start >= end:
        raise ParameterError("since", f"since must be before until, not {start.isoformat()}")
    return start, end


def report_request(values: dict[str, Any]) -> ReportRequest:
    """The report that the parameters of `/report` name.

    Raises:
        ParameterError: a parameter is invalid; the message lists what is valid.
    """
    names = dimensions_of(values["by"])
    keys = {"cost": ORDERS[0], "calls": "calls", TOKENS: TOKENS, **{name: name for name in names}}
    sort = values["sort"]
    if sort and sort not in keys:
        one_of = ", ".join(keys)
        raise ParameterError("sort", f"cannot sort by {sort!r}; use one of {one_of}", tuple(keys))
    since, until = period(values)
    return ReportRequest(
        by=names,
        since=since,
        until=until,
        limit=values["limit"],
        where=conditions(values["where"]),
        zone=values["timezone"],
        order_by=keys[sort] if sort else BY_TIME,
    )


def build_report(connection: psycopg.Connection[Any], values: dict[str, Any]) -> Report:
    """The report of a request, compared with the period before if it says so."""
    request = report_request(values)
    steps = compared_steps(request) if values["compare"] else report_steps(request)
    return run_steps(connection, steps)


def build_why(connection: psycopg.Connection[Any], values: dict[str, Any]) -> WhyReport:
    """Why the cost of the period differs, by the dimension `by`.

    Raises:
        ParameterError: a parameter is invalid, or the dimension cannot be compared.
    """
    since, until = period(values)
    where = conditions(values["where"])
    request = WhyRequest(values["by"], since, until, where, values["detail"], values["timezone"])
    why: WhyReport = checked("by", lambda each: run_steps(connection, why_steps(each)), request)
    return why


def build_measured(connection: psycopg.Connection[Any], values: dict[str, Any]) -> Measured:
    """The measure that the parameter `measure` names, by the dimensions of `by`.

    Raises:
        ParameterError: a parameter is invalid.
    """
    since, until = period(values)
    request = ReportRequest(
        dimensions_of(values["by"]),
        since,
        until,
        limit=values["limit"],
        where=conditions(values["where"]),
        zone=values["timezone"],
    )
    return run_steps(connection, measure_steps(request, values["measure"]))


def dimensions_of(text: str) -> list[str]:
    """The dimensions that a text with commas names.

    Raises:
        ParameterError: one is unknown; the message lists the valid ones.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        checked("by", group, name)
    return names


def find_call(connection: psycopg.Connection[Any], text: str) -> Explanation:
    """The call that a path names by its id or the start of it, with its explanation.

    Raises:
        ParameterError: it is not such a text; `NotFoundError`: no call, or several calls, have it.
    """
    try:
        return explain.explain_event(
            connection, event_id_of(connection, text, listed_by="the list of calls")
        )
    except InvalidRequestError as error:
        kind = ParameterError if str(error).startswith("invalid event id") else NotFoundError
        raise kind("event_id", str(error)) from None


def checked(name: str, read: Callable[[Any], Any], value: object) -> Any:  # noqa: ANN401 - what it reads
    """What `read` makes of a parameter's value; its error names the parameter."""
    try:
        return read(value)
    except InvalidRequestError as error:
        raise ParameterError(name, str(error)) from None
