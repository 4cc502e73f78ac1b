"""The endpoints of TokenLedger 0.1.1's API: the same paths, parameters and fields.

Money is a string, and a cost that is not known is null.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tokenledger_exporter.db.dimensions import UTC
from tokenledger_exporter.db.steps import run_steps
from tokenledger_exporter.pricing.book import plain_usd
from tokenledger_exporter.queries import summaries
from tokenledger_exporter.queries.over_time import trends
from tokenledger_exporter.queries.report import EVERYTHING
from tokenledger_exporter.render.documents import coverage_document, known_average, known_cost
from tokenledger_exporter.web.api import schemas
from tokenledger_exporter.web.api.endpoint import Endpoint
from tokenledger_exporter.web.parameters import Parameter

if TYPE_CHECKING:
    from tokenledger_exporter.render.documents import Document
    from tokenledger_exporter.web.api.endpoint import Connection

_MAX_DAYS: Final = 3_660
_MAX_GROUPS: Final = 10_000
_MAX_HOURS: Final = 720
_HUNDRED: Final = 100


def _days(default: int) -> Parameter:
    return Parameter("days", "Last days, up to now.", "integer", default, maximum=_MAX_DAYS)


def _limit(default: int) -> Parameter:
    return Parameter("limit", "Maximum number of entries.", "integer", default, maximum=_MAX_GROUPS)


_USER: Final = Parameter("user_id", "Only this user.")


def _summary(connection: Connection, values: dict[str, Any]) -> Document:
    filters = summaries.with_filters(
        None, user=values["user_id"], model=values["model"], app=values["app_name"]
    )
    steps = summaries.summary_steps(summaries.last_days(values["days"], where=filters))
    summary = run_steps(connection, steps)
    month = run_steps(connection, summaries.month_steps(filters))
    projected = None if month.coverage.knows_no_cost else plain_usd(round(month.cost_usd, 10))
    return {
        "total_cost": known_cost(summary),
        "total_tokens": summary.total_tokens,
        "total_input_tokens": summary.total_input_tokens,
        "total_output_tokens": summary.total_output_tokens,
        "total_requests": summary.total_requests,
        "avg_cost_per_request": known_average(summary),
        "avg_tokens_per_request": plain_usd(round(summary.avg_tokens_per_request, 4)),
        "projected_monthly_cost": projected,
        "coverage": coverage_document(summary.coverage),
    }


def _by_model(connection: Connection, values: dict[str, Any]) -> list[Document]:
    request = summaries.last_days(values["days"], "provider", "model", limit=EVERYTHING)
    entries = run_steps(connection, summaries.models_steps(request))
    total = sum(entry.total_cost for entry in entries)
    return [
        {
            "model": entry.model,
            "provider": entry.provider,
            "total_cost": known_cost(entry),
            "total_requests": entry.total_requests,
            "total_tokens": entry.total_tokens,
            "avg_cost_per_request": known_average(entry),
            "percentage_of_total": float(_HUNDRED * entry.total_cost / total) if total else 0.0,
        }
        for entry in entries[: values["limit"]]
    ]


def _by_user(connection: Connection, values: dict[str, Any]) -> list[Document]:
    request = summaries.last_days(values["days"], "user", limit=values["limit"])
    return [
        {
            "user_id": entry.user_id,
            "total_cost": known_cost(entry),
            "total_requests": entry.total_requests,
            "total_tokens": entry.total_tokens,
        }
        for entry in run_steps(connection, summaries.users_steps(request))
    ]


def _daily(connection: Connection, values: dict[str, Any]) -> list[Document]:
    filters = summaries.with_filters(None, user=values["user_id"])
    request = summaries.last_days(values["days"], "day", where=filters)
    return [
        {
            "date": entry.date.isoformat(),
            "total_cost": known_cost(entry),
            "total_requests": entry.total_requests,
            "total_tokens": entry.total_tokens,
        }
        for entry in run_steps(connection, summaries.days_steps(request))
    ]


def _hourly(connection: Connection, values: dict[str, Any]) -> list[Document]:
    trend = run_steps(connection, trends.hourly_steps(values["hours"], UTC, None))
    return [
        {
            "hour": entry.hour.isoformat(),
            "total_cost": known_cost(entry),
            "total_requests": entry.total_requests,
        }
        for entry in trend
    ]


def _errors(connection: Connection, values: dict[str, Any]) -> Document:
    rate = run_steps(connection, summaries.errors_steps(summaries.last_days(values["days"])))
    return {
        "total_requests": rate.total_requests,
        "errors": rate.errors,
        "error_rate": rate.error_rate,
        "status_breakdown": {
            "success": rate.total_requests - rate.errors,
            "error": rate.errors,
        },
    }


def _top_errors(connection: Connection, values: dict[str, Any]) -> list[Document]:
    request = summaries.last_days(values["days"], limit=values["limit"])
    return [
        {
            "error_type": error.error_type,
            "provider": error.provider,
            "model": error.model,
            "count": error.count,
        }
        for error in run_steps(connection, summaries.top_errors_steps(request))
    ]


def _latency(connection: Connection, values: dict[str, Any]) -> Document:
    latency = run_steps(connection, summaries.latency_steps(summaries.last_days(values["days"])))
    duration, first = latency.duration, latency.time_to_first_token
    names = ("p50", "p90", "p95", "p99", "avg")
    return {
        **{f"{name}_ms": getattr(duration, name) for name in names},
        "requests": duration.requests,
        "time_to_first_token": {
            **{f"{name}_ms": getattr(first, name) for name in names},
            "requests": first.requests,
        },
    }


OLDER_ENDPOINTS: Final = (
    Endpoint(
        "/summary",
        "summary",
        "Cost, requests and tokens of the last days, and the projected month",
        (
            _days(30),
            _USER,
            Parameter("model", "Only this model."),
            Parameter("app_name", "Only this app."),
        ),
        _summary,
        schemas.SUMMARY,
    ),
    Endpoint(
        "/costs/by-model",
        "costs_by_model",
        "Cost of each model, highest first",
        (_days(30), _limit(10)),
        _by_model,
        schemas.BY_MODEL,
    ),
    Endpoint(
        "/costs/by-user",
        "costs_by_user",
        "Cost of each user, highest first",
        (_days(30), _limit(20)),
        _by_user,
        schemas.BY_USER,
    ),
    Endpoint(
        "/costs/daily",
        "costs_daily",
        "Cost of each day that has calls, newest first",
        (_days(30), _USER),
        _daily,
        schemas.DAILY,
    ),
    Endpoint(
        "/costs/hourly",
        "costs_hourly",
        "Cost of each of the last hours, oldest first, without gaps",
        (Parameter("hours", "Last hours, up to now.", "integer", 24, maximum=_MAX_HOURS),),
        _hourly,
        schemas.HOURLY,
    ),
    Endpoint(
        "/errors",
        "errors",
        "How many calls failed",
        (_days(7),),
        _errors,
        schemas.ERRORS,
    ),
    Endpoint(
        "/errors/top",
        "top_errors",
        "The most frequent failures",
        (_days(7), _limit(10)),
        _top_errors,
        schemas.TOP_ERRORS,
    ),
    Endpoint(
        "/latency",
        "latency",
        "Percentiles of duration and of time to first token, in milliseconds",
        (_days(7),),
        _latency,
        schemas.LATENCY,
    ),
)
"""Endpoints that programs written for TokenLedger 0.1.1 know."""
