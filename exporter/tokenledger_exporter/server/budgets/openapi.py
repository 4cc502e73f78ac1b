"""The OpenAPI document of the requests about budgets, made from the types of `messages`."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from tokenledger_exporter.server.budgets import messages

_REF: Final = "#/components/schemas/{name}"
_KINDS: Final = (
    messages.ReserveRequest,
    messages.Reservation,
    messages.Refused,
    messages.SettleRequest,
    messages.Settled,
    messages.ReleaseRequest,
    messages.Released,
    messages.BudgetList,
    messages.Problem,
)
_PROBLEMS: Final = {
    "400": "The request is invalid; the message says what to change",
    "401": "The token is missing or unknown",
    "503": "Busy, or the database does not answer; Retry-After says when to retry",
}
_BODY_PROBLEMS: Final = {
    "413": "The body is too large",
    "415": "The body is not JSON, or it is compressed",
}


def openapi(release: str) -> dict[str, Any]:
    """The document, by OpenAPI 3.1.

    Args:
        release: the release of this package.
    """
    _, schemas = msgspec.json.schema_components(_KINDS, ref_template=_REF)
    unknown = {"404": _problem("There is no such reservation of this organization")}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "TokenLedger budgets",
            "version": release,
            "description": "Reserve before a model call is sent, settle when it ended, release if "
            "it was not sent. Money is text in US dollars.",
        },
        "paths": {
            "/v1/budgets": {"get": _list()},
            "/v1/budgets/reserve": {
                "post": _post(
                    "reserve",
                    "Reserve money for a call in every budget that matches it, or in none",
                    messages.ReserveRequest,
                    messages.Reservation,
                    {"402": _answer("The call must not be sent", messages.Refused)},
                )
            },
            "/v1/budgets/settle": {
                "post": _post(
                    "settle",
                    "Say what a call has cost, and which call it is",
                    messages.SettleRequest,
                    messages.Settled,
                    unknown,
                )
            },
            "/v1/budgets/release": {
                "post": _post(
                    "release",
                    "Free what a call reserved that was not sent",
                    messages.ReleaseRequest,
                    messages.Released,
                    unknown,
                )
            },
        },
        "components": {
            "schemas": schemas,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"token": []}],
    }


def _list() -> dict[str, Any]:
    return {
        "operationId": "budgets",
        "summary": "What is spent, reserved and left of each budget",
        "parameters": [
            _parameter("budget", "Name of one budget", {"type": "string"}),
            _parameter(
                "limit", "The most accounts", {"type": "integer", "minimum": 1, "maximum": 10_000}
            ),
        ],
        "responses": {
            "200": _answer("The accounts, the smallest share left first", messages.BudgetList),
            **{status: _problem(text) for status, text in _PROBLEMS.items()},
        },
    }


def _post(
    name: str,
    summary: str,
    request: type[msgspec.Struct],
    answer: type[msgspec.Struct],
    others: dict[str, Any],
) -> dict[str, Any]:
    problems = {**_PROBLEMS, **_BODY_PROBLEMS}
    return {
        "operationId": name,
        "summary": summary,
        "requestBody": {"required": True, "content": _json(request)},
        "responses": {
            "200": _answer(summary, answer),
            **others,
            **{status: _problem(text) for status, text in problems.items()},
        },
    }


def _parameter(name: str, description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "query", "description": description, "schema": schema}


def _problem(description: str) -> dict[str, Any]:
    return _answer(description, messages.Problem)


def _answer(description: str, kind: type[msgspec.Struct]) -> dict[str, Any]:
    return {"description": description, "content": _json(kind)}


def _json(kind: type[msgspec.Struct]) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": _REF.format(name=kind.__name__)}}}
