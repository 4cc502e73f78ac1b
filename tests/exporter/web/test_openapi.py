"""The OpenAPI document is valid, and any request by it gets an answer by it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import HealthCheck, given, settings

from tokenledger_exporter.web.api.endpoint import PREFIX
from tokenledger_exporter.web.api.endpoints import ENDPOINTS

if TYPE_CHECKING:
    from support.dashboard import Dashboard

schemathesis: Any = pytest.importorskip("schemathesis", reason="make setup installs it")
checks: Any = pytest.importorskip("schemathesis.specs.openapi.checks")

_EXAMPLES: Final = 40


def test_the_document_lists_every_endpoint(dashboard: Dashboard) -> None:
    document = dashboard.json("/openapi.json")
    assert document["openapi"] == "3.1.0"
    assert list(document["paths"]) == [PREFIX + endpoint.path for endpoint in ENDPOINTS]
    names = [path["get"]["operationId"] for path in document["paths"].values()]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.name)
def test_any_request_is_answered_as_the_document_says(
    dashboard: Dashboard,
    endpoint: Any,  # noqa: ANN401 - an endpoint
) -> None:
    url = f"http://127.0.0.1:{dashboard.port}{PREFIX}/openapi.json"
    operation = schemathesis.openapi.from_url(url)[PREFIX + endpoint.path]["GET"]

    @settings(
        max_examples=_EXAMPLES,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )
    @given(case=operation.as_strategy())
    def answered(case: Any) -> None:  # noqa: ANN401 - a request of schemathesis
        # A text may have the schema's type and still name no dimension, time or call.
        case.call_and_validate(excluded_checks=[checks.positive_data_acceptance])

    answered()
