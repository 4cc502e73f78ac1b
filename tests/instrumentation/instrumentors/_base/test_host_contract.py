"""The app sees what it would see with the bare SDK."""

from __future__ import annotations

import copy
import inspect
import pickle
import sys
import traceback
from functools import partial
from typing import TYPE_CHECKING

import anthropic
import openai
import pytest
from opentelemetry import baggage, context, trace

import tokenledger
from support.fake_provider import Refuse
from support.loopback import method_of
from support.sdk_calls import (
    ALL,
    CHAT,
    CHAT_STREAM,
    ITERATED,
    MESSAGE,
    RESPONSE_STREAM,
    STREAMS,
    run,
    run_async,
    send,
)
from support.sdk_releases import fields_sent, needs_argument
from tokenledger import _guard

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.fake_provider import DemoProvider
    from support.ledger_in_memory import LedgerInMemory
    from support.sdk_calls import (
        Clients,
        Sdk,
        Shape,
    )

_HTTP = "_client"
_NEVER_THE_SAME = {
    "id",
    "created",
    "created_at",
    "completed_at",
    "item_id",
    "obfuscation",
    "signature",
}


def _patched(do: Callable[[], Sdk]) -> tuple[Sdk, Sdk]:
    """The result of a function with the bare SDKs, and with patched ones."""
    tokenledger.unpatch_openai()
    tokenledger.unpatch_anthropic()
    bare = do()
    tokenledger.patch_openai()
    tokenledger.patch_anthropic()
    return bare, do()


def _comparable(value: Sdk) -> Sdk:
    """An answer as plain data, without the ids and times that differ each time."""
    if hasattr(value, "model_dump"):
        value = fields_sent(value)
    if hasattr(value, "keys"):
        return {key: _comparable(value[key]) for key in value.keys() - _NEVER_THE_SAME}
    if hasattr(value, "append"):
        return [_comparable(entry) for entry in value]
    return value


@pytest.mark.parametrize("shape", ALL, ids=str)
@pytest.mark.usefixtures("ledger")
def test_answers_and_chunks_are_the_same(clients: Clients, shape: Shape) -> None:
    bare, ours = _patched(lambda: run(clients, shape))
    assert _comparable(ours) == _comparable(bare)
    assert type(ours) is type(bare)


@pytest.mark.parametrize("shape", ITERATED, ids=str)
@pytest.mark.usefixtures("ledger")
def test_a_stream_is_the_sdks_own(clients: Clients, shape: Shape) -> None:
    bare, ours = _patched(lambda: send(clients, shape))
    assert type(ours) is type(bare)
    assert ours.response.status_code == 200
    method_of(ours, "__enter__")
    with ours as entered:
        assert entered is ours
    bare.close()
    assert ours.response.is_closed


@pytest.mark.parametrize("method", ["chat.completions.create", "responses.create"])
@pytest.mark.usefixtures("ledger")
def test_signatures_and_kinds_are_the_same(
    clients: Clients, async_clients: Clients, method: str
) -> None:
    for sdk in (clients.openai, async_clients.openai):
        bare, ours = _patched(partial(method_of, sdk, method))
        assert inspect.signature(ours) == inspect.signature(bare)
        assert ours.__name__ == bare.__name__
        assert ours.__doc__ == bare.__doc__
        assert inspect.iscoroutinefunction(ours) == inspect.iscoroutinefunction(bare)


@pytest.mark.usefixtures("ledger")
def test_missing_arguments_raise_the_sdks_own_error(clients: Clients) -> None:
    def refused() -> str:
        with pytest.raises(TypeError) as raised:
            clients.openai.chat.completions.create()
        return str(raised.value)

    bare, ours = _patched(refused)
    assert ours == bare


@pytest.mark.asyncio
@pytest.mark.usefixtures("ledger")
async def test_async_missing_arguments_raise_before_the_await(async_clients: Clients) -> None:
    with pytest.raises(TypeError, match="Missing required arguments"):
        async_clients.openai.chat.completions.create()


@pytest.mark.parametrize("shape", [CHAT, MESSAGE], ids=str)
@pytest.mark.usefixtures("ledger")
def test_an_error_is_the_sdks_own_with_its_cause(
    clients: Clients, provider: DemoProvider, shape: Shape
) -> None:
    def fail() -> Exception:
        provider.script(Refuse(429))
        with pytest.raises((openai.RateLimitError, anthropic.RateLimitError)) as raised:
            run(clients, shape)
        return raised.value

    bare, ours = _patched(fail)
    assert type(ours) is type(bare)
    assert type(ours.__cause__) is type(bare.__cause__)
    innermost = [traceback.extract_tb(error.__traceback__)[-1].name for error in (bare, ours)]
    assert innermost[0] == innermost[1]


@pytest.mark.parametrize("shape", ALL, ids=str)
@pytest.mark.usefixtures("ledger")
def test_the_callers_arguments_are_not_touched(clients: Clients, shape: Shape) -> None:
    arguments = copy.deepcopy(shape.arguments)
    run(clients, shape)
    assert shape.arguments == arguments


@pytest.mark.usefixtures("ledger")
def test_stream_options_of_the_caller_are_not_changed(
    clients: Clients, provider: DemoProvider
) -> None:
    needs_argument(clients.openai.chat.completions.create, "stream_options")
    options = {"include_usage": False}
    run(clients, CHAT_STREAM, stream_options=options)
    run(clients, CHAT_STREAM, extra_body={"stream_options": {"include_usage": True}})
    run(clients, CHAT_STREAM)
    sent = [(request.body or {}).get("stream_options") for request in provider.requests]
    assert sent == [{"include_usage": False}, {"include_usage": True}, {"include_usage": True}]
    assert options == {"include_usage": False}


def test_usage_that_the_caller_asked_for_is_visible(
    ledger: LedgerInMemory, clients: Clients
) -> None:
    needs_argument(clients.openai.chat.completions.create, "stream_options")
    chunks = run(clients, CHAT_STREAM, stream_options={"include_usage": True})
    assert chunks[-1].usage.completion_tokens == 50
    assert len(ledger.spans) == 1


@pytest.mark.usefixtures("ledger")
def test_usage_that_only_we_asked_for_is_hidden(clients: Clients) -> None:
    for chunk in run(clients, CHAT_STREAM):
        assert "usage" not in fields_sent(chunk)
        assert "usage" not in chunk.model_fields_set


@pytest.mark.parametrize("shape", ALL, ids=str)
@pytest.mark.usefixtures("ledger")
def test_the_context_is_restored(clients: Clients, provider: DemoProvider, shape: Shape) -> None:
    before = context.get_current()
    run(clients, shape)
    assert context.get_current() is before
    provider.script(Refuse(500))
    with pytest.raises((openai.InternalServerError, anthropic.InternalServerError)):
        run(clients, shape)
    assert context.get_current() is before


@pytest.mark.parametrize("shape", STREAMS, ids=str)
@pytest.mark.usefixtures("ledger")
def test_between_chunks_the_apps_own_context_is_in_force(clients: Clients, shape: Shape) -> None:
    answer = send(clients, shape)
    method_of(answer, "__enter__")
    token = context.attach(baggage.set_baggage("mine", "1"))
    before = context.get_current()
    with answer as stream:
        for _ in stream:
            assert context.get_current() is before
    context.detach(token)


@pytest.mark.parametrize("shape", ALL, ids=str)
@pytest.mark.usefixtures("ledger", "app")
def test_no_baggage_reaches_the_provider(
    clients: Clients, provider: DemoProvider, shape: Shape
) -> None:
    with tokenledger.attribution(user_id="u-secret"):
        token = context.attach(baggage.set_baggage("theirs", "secret"))
        run(clients, shape)
        context.detach(token)
    assert [request.headers.get("baggage") for request in provider.requests] == [None]
    assert "secret" not in str(provider.requests[0].headers)


@pytest.mark.parametrize("shape", ALL, ids=str)
@pytest.mark.usefixtures("ledger", "app")
@pytest.mark.asyncio
async def test_no_baggage_of_an_async_call_reaches_the_provider(
    async_clients: Clients, provider: DemoProvider, shape: Shape
) -> None:
    with tokenledger.attribution(user_id="u-secret"):
        await run_async(async_clients, shape)
    assert [request.headers.get("baggage") for request in provider.requests] == [None]


@pytest.mark.parametrize("shape", [CHAT, MESSAGE, RESPONSE_STREAM], ids=str)
@pytest.mark.usefixtures("ledger")
def test_answers_pickle_as_before(clients: Clients, shape: Shape) -> None:
    answer = run(clients, shape)
    assert pickle.loads(pickle.dumps(answer)) == answer  # noqa: S301 - our own bytes


@pytest.mark.parametrize("method", ["chat.completions.create", "messages.create"])
@pytest.mark.usefixtures("ledger")
def test_a_method_pickles_as_before(clients: Clients, method: str) -> None:
    sdk = clients.anthropic if method == MESSAGE.method else clients.openai
    function = method_of(sdk, method).__func__
    assert pickle.loads(pickle.dumps(function)) is function  # noqa: S301 - our own bytes


@pytest.mark.parametrize(
    "keywords", [{}, {"tokenledger_user_id": "u1"}], ids=["plain", "attributed"]
)
@pytest.mark.usefixtures("ledger")
def test_a_warning_of_the_sdk_names_the_apps_line(
    clients: Clients, keywords: dict[str, str]
) -> None:
    """Python shows a deprecation only if its line is in the app's main module."""
    create = method_of(clients.anthropic, "messages.create")
    resource = sys.modules[type(clients.anthropic.messages).__module__]
    if "claude-2.1" not in getattr(resource, "DEPRECATED_MODELS", {}):
        pytest.skip("this release of the SDK warns of no model")
    with pytest.warns(DeprecationWarning, match="claude-2.1") as warned:
        create(**{**MESSAGE.arguments, "model": "claude-2.1"}, **keywords)
    assert {warning.filename for warning in warned} == {__file__}


@pytest.mark.usefixtures("ledger")
def test_the_sdk_call_runs_under_our_span(
    clients: Clients, app: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    del app
    seen: list[object] = []
    http = getattr(clients.openai, _HTTP)
    sent = http.send

    def post(*args: object, **kwargs: object) -> object:
        seen.append(getattr(trace.get_current_span(), "name", None))
        return sent(*args, **kwargs)

    monkeypatch.setattr(http, "send", post)
    run(clients, CHAT)
    assert seen == ["chat gpt-4o"]


@pytest.mark.parametrize("shape", ALL, ids=str)
def test_a_failure_of_ours_never_reaches_the_app(
    ledger: LedgerInMemory, clients: Clients, monkeypatch: pytest.MonkeyPatch, shape: Shape
) -> None:
    def broken(*_args: object) -> None:
        raise RuntimeError("canary-internal")

    monkeypatch.setattr("tokenledger._usage.openai.fields_of", broken)
    monkeypatch.setattr("tokenledger._usage.anthropic.fields_of", broken)
    assert run(clients, shape)
    assert tokenledger.health()["failures"]
    assert len(ledger.spans) == 1
    _guard.reset()
