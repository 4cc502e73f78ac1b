"""Errors as `application/problem+json` (RFC 9457): what is wrong, and with which parameter."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from starlette.responses import JSONResponse

from tokenledger_exporter.errors import (
    DatabaseUnreachableError,
    InvalidRequestError,
    SchemaError,
)
from tokenledger_exporter.web.parameters import NotFoundError, ParameterError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tokenledger_exporter.errors import LedgerError

_RETRY_SECONDS: Final = "5"


class ProblemResponse(JSONResponse):
    """An error document."""

    media_type = "application/problem+json"


def problem(
    status: int,
    detail: str,
    *,
    headers: Mapping[str, str] | None = None,
    more: Mapping[str, Any] | None = None,
) -> ProblemResponse:
    """The response of an error.

    Args:
        status: HTTP status.
        detail: what is wrong, and what to do.
        headers: further headers.
        more: further members of the document.
    """
    title = HTTPStatus(status).phrase
    document = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    return ProblemResponse({**document, **(more or {})}, status, headers=dict(headers or {}))


def problem_of(error: LedgerError) -> ProblemResponse:
    """The response of an error of the ledger."""
    if isinstance(error, ParameterError):
        more: dict[str, Any] = {"parameter": error.name}
        if error.allowed:
            more["allowed"] = list(error.allowed)
        is_missing = isinstance(error, NotFoundError)
        status = HTTPStatus.NOT_FOUND if is_missing else HTTPStatus.BAD_REQUEST
        return problem(status, str(error), more=more)
    if isinstance(error, InvalidRequestError):
        return problem(HTTPStatus.BAD_REQUEST, str(error))
    if isinstance(error, DatabaseUnreachableError | SchemaError):
        retry = {"Retry-After": _RETRY_SECONDS}
        return problem(HTTPStatus.SERVICE_UNAVAILABLE, str(error), headers=retry)
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR, str(error))
