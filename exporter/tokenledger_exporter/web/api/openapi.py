"""The OpenAPI document of the API, made from the table of its endpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tokenledger_exporter.web.api import schemas
from tokenledger_exporter.web.api.endpoint import PREFIX
from tokenledger_exporter.web.api.endpoints import ENDPOINTS
from tokenledger_exporter.web.frame import NOTICE_HEADER

if TYPE_CHECKING:
    from tokenledger_exporter.web.api.endpoint import Endpoint

_PROBLEM = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
_ERRORS = {
    "400": "A parameter is invalid",
    "401": "The token is missing or unknown",
    "404": "There is no such path or call",
    "503": "The database does not answer, or has no ledger",
}


def openapi(version: str) -> dict[str, Any]:
    """The document, by OpenAPI 3.1.

    Args:
        version: the release of this package.
    """
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "TokenLedger",
            "version": version,
            "description": "The cost of LLM calls, from the ledger in your own Postgres. "
            "Money is a string in US dollars; null means that it is not known.",
        },
        "paths": {PREFIX + endpoint.path: {"get": _operation(endpoint)} for endpoint in ENDPOINTS},
        "components": {
            "schemas": {"Problem": schemas.PROBLEM},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"token": []}],
    }


def _operation(endpoint: Endpoint) -> dict[str, Any]:
    parameters: list[dict[str, Any]] = [
        {
            "name": parameter.name,
            "in": "query",
            "description": parameter.description,
            "schema": parameter.schema(),
        }
        for parameter in endpoint.parameters
    ]
    for name, description in _IN_PATH.items():
        if f"{{{name}}}" in endpoint.path:
            parameters.insert(0, _in_path(name, description))
    ok = {
        "description": endpoint.summary,
        "headers": {NOTICE_HEADER: _NOTICE},
        "content": {"application/json": {"schema": endpoint.schema}},
    }
    errors = {
        status: {"description": description, "content": _PROBLEM}
        for status, description in _ERRORS.items()
    }
    return {
        "operationId": endpoint.name,
        "summary": endpoint.summary,
        "parameters": parameters,
        "responses": {"200": ok, **errors},
    }


def _in_path(name: str, description: str) -> dict[str, Any]:
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": description,
        "schema": {"type": "string", "minLength": 1, "maxLength": 255},
    }


_NOTICE = {
    "description": "What a reader must know of all figures, such as that the data is a sample; "
    "missing if there is nothing. A document that is an object has it as `notice`, too.",
    "schema": {"type": "string"},
}
_IN_PATH = {
    "event_id": "Id of a call, or at least its first eight digits.",
    "run_id": "Id of a trace or session, or its beginning.",
    "name": "Name of a budget.",
}
