"""The OpenAPI document says what is answered."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings

from tokenledger_exporter.budgets.budgets import set_budget
from tokenledger_exporter.server.budgets.service import DOCUMENT

if TYPE_CHECKING:
    from support.otlp_service import Running

schemathesis: Any = pytest.importorskip("schemathesis", reason="make setup installs it")
checks: Any = pytest.importorskip("schemathesis.specs.openapi.checks")
jsonschema: Any = pytest.importorskip("jsonschema", reason="make setup installs it")

_EXAMPLES = 40


def test_any_request_is_answered_as_the_document_says(service: Running, ledger_url: str) -> None:
    set_budget(ledger_url, "small", limit="0.01", each="user")
    schema = schemathesis.openapi.from_url(service.endpoint + DOCUMENT)
    for operation in schema.get_all_operations():

        @settings(
            max_examples=_EXAMPLES,
            deadline=None,
            database=None,
            suppress_health_check=[HealthCheck.too_slow],
        )
        @given(case=operation.ok().as_strategy())
        def answered(case: Any) -> None:  # noqa: ANN401 - a request of schemathesis
            # A text may have the schema's type and still name no dimension and no reservation.
            case.call_and_validate(excluded_checks=[checks.positive_data_acceptance])

        answered()


def test_the_document_has_every_answer(service: Running, ledger_url: str) -> None:
    """The usual ones, which a generated request rarely gets."""
    set_budget(ledger_url, "answered", limit="1", where={"team": "answered"})
    document = json.loads(service.ask(DOCUMENT).body)
    wanted = {"dimensions": {"team": "answered"}, "estimate_usd": "0.8"}
    reserved = _checked(service, document, "reserve", wanted, 200)
    _checked(service, document, "reserve", wanted, 402)
    named = {"reservation_id": reserved["reservation_id"]}
    _checked(service, document, "settle", {**named, "cost_usd": "0.1"}, 200)
    _checked(service, document, "release", named, 200)
    _checked(service, document, "release", named, 404)
    _checked(service, document, "release", {}, 400)
    _checked(service, document, "", None, 200)


def _checked(
    service: Running, document: dict[str, Any], name: str, fields: object, status: int
) -> Any:  # noqa: ANN401 - a JSON document
    """The answer, which has the status and the schema, and no field that the schema lacks."""
    path = "/v1/budgets" + (name and f"/{name}")
    sent = None if fields is None else json.dumps(fields).encode()
    answer = service.ask(path, sent, {"content-type": "application/json"})
    assert answer.status == status
    operation = document["paths"][path]["get" if fields is None else "post"]
    schema = operation["responses"][str(status)]["content"]["application/json"]["schema"]
    found = json.loads(answer.body)
    jsonschema.validate(found, {**schema, "components": document["components"]})
    kind = schema["$ref"].rpartition("/")[2]
    assert found.keys() == document["components"]["schemas"][kind]["properties"].keys()
    return found
