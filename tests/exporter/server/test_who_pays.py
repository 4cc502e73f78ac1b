"""Whose cost a call is, in every format: the resource, the spans above, and the sender's token."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf.json_format import MessageToDict
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import set_span_in_context

from support.ledger_rows import ask, chat_attributes
from support.otlp_agent_logs import CLAUDE, CODEX, log
from support.otlp_agent_logs import request as logs_request
from support.otlp_requests import COST, as_json, below, body, call, other, request_of
from support.otlp_service import serving
from tokenledger_exporter.access.tokens import new_token, token_line

if TYPE_CHECKING:
    from pathlib import Path

    from support.otlp_service import Running

JSON = {"content-type": "application/json"}
TEAM = {"team": "ml", "cost_center": "cc-1", "user.id": "u1", "tokenledger.feature": "chat"}
CLAUDE_TEAM = {"department": "engineering", "team.id": "platform", "cost_center": "eng-123"}


def row_of(url: str, response_id: str, columns: str) -> tuple[Any, ...]:
    query = f"SELECT {columns} FROM token_ledger_events WHERE response_id = '{response_id}'"
    (row,) = ask(url, query)
    return row


@pytest.mark.parametrize("kind", ["protobuf", "json"])
def test_resource_attributes_fill_what_the_span_does_not_say(
    service: Running, ledger_url: str, kind: str
) -> None:
    bare = call({"gen_ai.response.id": f"resp_resource_bare_{kind}"})
    own = call({"gen_ai.response.id": f"resp_resource_own_{kind}", "tokenledger.team": "own"})
    sent = request_of(bare, own, resource={**TEAM, "tokenledger.metadata.tier": "gold"})
    data = sent.SerializeToString() if kind == "protobuf" else as_json(sent)
    headers = JSON if kind == "json" else None
    assert service.ask("/v1/traces", data, headers).status == 200
    columns = "cost_usd, team, cost_center, user_id, feature, metadata, app_name"
    rest = ("cc-1", "u1", "chat", {"tier": "gold"}, "shop")
    assert row_of(ledger_url, f"resp_resource_bare_{kind}", columns) == (COST, "ml", *rest)
    assert row_of(ledger_url, f"resp_resource_own_{kind}", columns) == (COST, "own", *rest)


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_an_sdk_sends_its_resource_and_the_spans_above_a_call(
    service: Running, ledger_url: str, protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "team=a%20team,user.id=service-account")
    exporter = (
        GrpcExporter(f"127.0.0.1:{service.grpc_port}", insecure=True)
        if protocol == "grpc"
        else HttpExporter(f"{service.endpoint}/v1/traces")
    )
    provider = TracerProvider(resource=Resource.create(), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=60_000))
    tracer = provider.get_tracer("my.app")
    response_id = f"resp_of_the_sdk_{protocol}"
    sent: dict[str, Any] = {**chat_attributes(), "gen_ai.response.id": response_id}
    request = tracer.start_span("POST /ask", attributes={"user.id": "ada"})
    step = tracer.start_span("answer", context=set_span_in_context(request))
    # Children end before their parents.
    tracer.start_span("chat", context=set_span_in_context(step), attributes=sent).end()
    step.end()
    request.end()
    provider.shutdown()
    assert row_of(ledger_url, response_id, "user_id, team") == ("ada", "a team")


@pytest.mark.parametrize("kind", ["protobuf", "json"])
def test_claude_code_names_its_team_on_the_resource(
    service: Running, ledger_url: str, kind: str
) -> None:
    fields = {**CLAUDE, "request_id": f"req_team_{kind}", "user.id": "random-installation-id"}
    account = log(fields, "claude_code.api_request")
    keyed = log(
        {k: v for k, v in fields.items() if k != "user.email"} | {"request_id": f"req_key_{kind}"},
        "claude_code.api_request",
    )
    sent = logs_request(account, keyed, resource={**CLAUDE_TEAM, "user.id": f"ada {kind}"})
    data = (
        sent.SerializeToString() if kind == "protobuf" else json.dumps(MessageToDict(sent)).encode()
    )
    headers = JSON if kind == "json" else None
    assert service.ask("/v1/logs", data, headers).status == 200
    query = (
        "SELECT team, cost_center, metadata, user_id FROM token_ledger_events"
        f" WHERE scope = 'claude_code' AND user_id IN ('ada {kind}', 'a@example.com')"
        " ORDER BY user_id DESC LIMIT 2"
    )
    rest = ("platform", "eng-123", {"department": "engineering"})
    assert ask(ledger_url, query) == [(*rest, f"ada {kind}"), (*rest, "a@example.com")]


def test_codex_names_its_team_on_the_resource(service: Running, ledger_url: str) -> None:
    sent = logs_request(log({**CODEX, "user.account_id": "codex-team"}), resource=CLAUDE_TEAM)
    assert service.ask("/v1/logs", sent.SerializeToString()).status == 200
    query = "SELECT team, cost_center FROM token_ledger_events WHERE user_id = 'codex-team'"
    assert ask(ledger_url, query) == [("platform", "eng-123")]


@pytest.mark.parametrize("kind", ["protobuf", "json"])
def test_a_call_has_the_user_of_the_spans_above_it(
    service: Running, ledger_url: str, kind: str
) -> None:
    root = other({"tokenledger.user_id": "far", "tokenledger.team": "ml", "http.route": "/ask"})
    handler = below(root, other({"enduser.id": "near"}))
    silent = below(handler, other({"db.system": "postgresql"}))
    inner = below(silent, call({"gen_ai.response.id": f"resp_nested_{kind}"}))
    own = {"gen_ai.response.id": f"resp_nested_own_{kind}", "user.id": "own"}
    named = below(silent, call(own))
    alone = call({"gen_ai.response.id": f"resp_alone_{kind}"})
    sent = request_of(inner, named, silent, handler, root, alone, resource={"user.id": "resource"})
    data = sent.SerializeToString() if kind == "protobuf" else as_json(sent)
    headers = JSON if kind == "json" else None
    assert service.ask("/v1/traces", data, headers).status == 200
    columns = "cost_usd, user_id, team"
    assert row_of(ledger_url, f"resp_nested_{kind}", columns) == (COST, "near", "ml")
    assert row_of(ledger_url, f"resp_nested_own_{kind}", columns) == (COST, "own", "ml")
    assert row_of(ledger_url, f"resp_alone_{kind}", columns) == (COST, "resource", "")


def test_a_span_of_another_trace_with_the_same_id_is_not_the_parent(
    service: Running, ledger_url: str
) -> None:
    root = other({"user.id": "of another trace"})
    inner = below(root, call({"gen_ai.response.id": "resp_of_another_trace"}))
    inner.trace_id = b"another trace id"
    sent = request_of(inner, root).SerializeToString()
    assert service.ask("/v1/traces", sent).status == 200
    assert row_of(ledger_url, "resp_of_another_trace", "user_id") == ("",)


def test_a_parent_of_a_later_request_is_too_late_and_a_resend_changes_nothing(
    service: Running, ledger_url: str
) -> None:
    root = other({"user.id": "late"})
    inner = below(root, call({"gen_ai.response.id": "resp_before_its_parent"}))
    for sent in (body(inner), body(root), body(inner, root)):
        assert service.ask("/v1/traces", sent).status == 200
    assert row_of(ledger_url, "resp_before_its_parent", "user_id") == ("",)


def test_neither_resource_nor_parent_overrides_the_organization_of_a_token(
    ledger_url: str, tmp_path: Path
) -> None:
    acme, anyone = new_token(), new_token()
    file = tmp_path / "tokens"
    file.write_text(f"{token_line('acme', acme)}\n{token_line('*', anyone)}\n")
    claim = {"tokenledger.organization_id": "claimed"}
    with serving(ledger_url, "--tokens-file", str(file)) as service:
        for token, feature in ((acme, "bound"), (anyone, "unbound")):
            root = other(claim)
            inner = below(root, call({"tokenledger.feature": feature}))
            alone = call({"tokenledger.feature": feature})
            headers = {"authorization": f"Bearer {token}"}
            sent = request_of(inner, root, alone, resource=claim).SerializeToString()
            assert service.ask("/v1/traces", sent, headers).status == 200
            fields = {**CODEX, "tokenledger.feature": feature, "user.account_id": token}
            logs = logs_request(log(fields), resource=claim).SerializeToString()
            assert service.ask("/v1/logs", logs, headers).status == 200
    query = (
        "SELECT feature, organization_id, count(*) FROM token_ledger_events"
        " WHERE feature LIKE '%bound' GROUP BY 1, 2 ORDER BY 1"
    )
    assert ask(ledger_url, query) == [("bound", "acme", 3), ("unbound", "claimed", 3)]
