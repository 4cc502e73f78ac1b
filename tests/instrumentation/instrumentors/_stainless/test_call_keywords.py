"""Attribution given with one call reaches its span, and never the provider."""

from __future__ import annotations

import gc
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import anthropic
import openai
import pytest
import pytest_asyncio
from anthropic import Anthropic, AsyncAnthropic
from openai import AsyncOpenAI, OpenAI

import tokenledger
from support.anthropic_answers import MODEL, STREAM, message
from support.loopback import Loopback, method_of, said
from support.openai_cases import CASES, MESSAGES, completion
from support.sdk_calls import Clients
from support.sdk_releases import async_http_client, needs_argument
from support.spans import attributes_of
from tokenledger import _guard
from tokenledger.instrumentors._stainless import call_keywords as per_request
from tokenledger.instrumentors._stainless.call_keywords import CARRIER, KEYWORDS
from tokenledger_semconv import attributes

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Iterator

    from support.ledger_in_memory import LedgerInMemory
    from support.openai_cases import Case
    from support.sdk_calls import Sdk

pytestmark = [
    pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The model:DeprecationWarning"),
]
KEY = "sk-canary-key"
GIVEN: dict[str, Any] = {
    "tokenledger_user_id": "canary-user",
    "tokenledger_session_id": "canary-session",
    "tokenledger_organization_id": "canary-organization",
    "tokenledger_feature": "canary-feature",
    "tokenledger_team_id": "canary-team",
    "tokenledger_project": "canary-project",
    "tokenledger_cost_center": "canary-center",
    "tokenledger_agent_id": "canary-agent",
    "tokenledger_endpoint": "canary-endpoint",
    "tokenledger_tags": {"tier": "canary-gold", "seats": 7},
}
ATTRIBUTED = {
    attributes.USER_ID: "canary-user",
    attributes.SESSION_ID: "canary-session",
    attributes.ORGANIZATION_ID: "canary-organization",
    attributes.FEATURE: "canary-feature",
    attributes.TEAM: "canary-team",
    attributes.PROJECT: "canary-project",
    attributes.COST_CENTER: "canary-center",
    attributes.AGENT_ID: "canary-agent",
    attributes.ENDPOINT: "canary-endpoint",
    f"{attributes.METADATA_PREFIX}tier": "canary-gold",
    f"{attributes.METADATA_PREFIX}seats": "7",
}
_ASKED = {"model": MODEL, "max_tokens": 64, "messages": MESSAGES}
ANTHROPIC: tuple[tuple[str, dict[str, Any]], ...] = (
    ("messages.create", {}),
    ("messages.create", {"stream": True}),
    ("messages.stream", {}),
    ("messages.parse", {}),
    ("beta.messages.create", {}),
    ("beta.messages.create", {"stream": True}),
    ("beta.messages.stream", {}),
    ("beta.messages.parse", {}),
    ("beta.messages.tool_runner", {"tools": []}),
)


@pytest.fixture
def server() -> Iterator[Loopback]:
    with Loopback() as server:
        yield server


@pytest.fixture
def clients(server: Loopback) -> Iterator[Clients]:
    with (
        OpenAI(base_url=server.url, api_key=KEY, max_retries=0) as of_openai,
        Anthropic(base_url=server.url, api_key=KEY, max_retries=0) as of_anthropic,
    ):
        yield Clients(of_openai, of_anthropic)


@pytest_asyncio.fixture
async def async_clients(server: Loopback, tls: ssl.SSLContext) -> AsyncIterator[Clients]:
    async with (
        AsyncOpenAI(
            base_url=server.url,
            api_key=KEY,
            max_retries=0,
            http_client=async_http_client(openai, verify=tls),
        ) as of_openai,
        AsyncAnthropic(
            base_url=server.url,
            api_key=KEY,
            max_retries=0,
            http_client=async_http_client(anthropic, verify=tls),
        ) as of_anthropic,
    ):
        yield Clients(of_openai, of_anthropic)


def read(answer: Sdk) -> None:
    """Read an answer, a stream or a stream manager to its end."""
    if hasattr(answer, "__enter__") and not hasattr(answer, "response"):
        with answer as stream:
            list(stream)
    elif hasattr(answer, "__next__"):
        list(answer)


async def read_async(answer: Sdk) -> None:
    if hasattr(answer, "__await__"):
        answer = await answer
    if hasattr(answer, "__aenter__") and not hasattr(answer, "response"):
        async with answer as stream:
            assert [event async for event in stream]
    elif hasattr(answer, "__anext__"):
        assert [event async for event in answer]


def check(ledger: LedgerInMemory, server: Loopback) -> None:
    """The span has the attribution, and the provider did not receive it."""
    span = ledger.only()
    assert {name: span.get(name) for name in ATTRIBUTED} == ATTRIBUTED
    request = server.requests[-1]
    assert CARRIER not in request.headers
    assert "tokenledger" not in str(request).lower()
    assert "canary-user" not in str(request)


def test_every_keyword_is_tried_here() -> None:
    assert KEYWORDS.keys() | {"tokenledger_tags"} == GIVEN.keys() | {"tokenledger_team"}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_openai_method_takes_attribution(
    ledger: LedgerInMemory, server: Loopback, clients: Clients, case: Case
) -> None:
    method = method_of(clients.openai, case.method)
    if "stream" in case.arguments():
        needs_argument(method, "stream")
    server.on(case.path, case.reply)
    read(method(**case.arguments(), **GIVEN))
    check(ledger, server)


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.asyncio
async def test_every_async_openai_method_takes_attribution(
    ledger: LedgerInMemory, server: Loopback, async_clients: Clients, case: Case
) -> None:
    method = method_of(async_clients.openai, case.method)
    if "stream" in case.arguments():
        needs_argument(method, "stream")
    server.on(case.path, case.reply)
    await read_async(method(**case.arguments(), **GIVEN))
    check(ledger, server)


@pytest.mark.parametrize("asks", ["with_raw_response", "with_streaming_response"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_bare_openai_response_takes_attribution(
    ledger: LedgerInMemory, server: Loopback, clients: Clients, case: Case, asks: str
) -> None:
    owner, _, name = case.method.rpartition(".")
    method = method_of(clients.openai, f"{owner}.{asks}.{name}")
    if "stream" in case.arguments():
        needs_argument(attrgetter(case.method)(clients.openai), "stream")
    server.on(case.path, case.reply)
    answer = method(**case.arguments(), **GIVEN)
    if asks == "with_raw_response":
        read(answer.parse())
    else:
        with answer as unread:
            unread.read()
    check(ledger, server)


@pytest.mark.parametrize(("method", "more"), ANTHROPIC, ids=str)
def test_every_anthropic_method_takes_attribution(
    ledger: LedgerInMemory, server: Loopback, clients: Clients, method: str, more: dict[str, Any]
) -> None:
    streams = method.endswith(".stream") or more.get("stream")
    server.on("/v1/messages", STREAM if streams else said(message()))
    read(method_of(clients.anthropic, method)(**_ASKED, **more, **GIVEN))
    if method.endswith("tool_runner") and not ledger.spans:
        pytest.fail("the runner sent nothing")
    check(ledger, server)


@pytest.mark.parametrize(("method", "more"), ANTHROPIC, ids=str)
@pytest.mark.asyncio
async def test_every_async_anthropic_method_takes_attribution(
    ledger: LedgerInMemory,
    server: Loopback,
    async_clients: Clients,
    method: str,
    more: dict[str, Any],
) -> None:
    streams = method.endswith(".stream") or more.get("stream")
    server.on("/v1/messages", STREAM if streams else said(message()))
    answer = method_of(async_clients.anthropic, method)(**_ASKED, **more, **GIVEN)
    if method.endswith("tool_runner"):
        assert [turn async for turn in answer]
    else:
        await read_async(answer)
    check(ledger, server)


def ask(clients: Clients, **more: object) -> None:
    clients.openai.chat.completions.create(model="gpt-4o", messages=MESSAGES, **more)


def test_the_apps_own_headers_still_reach_the_provider(
    ledger: LedgerInMemory, server: Loopback, clients: Clients
) -> None:
    server.on("/chat/completions", said(completion()))
    theirs = {"x-theirs": "1"}
    ask(clients, extra_headers=theirs, **GIVEN)
    assert theirs == {"x-theirs": "1"}
    assert server.requests[0].headers["x-theirs"] == "1"
    check(ledger, server)


def test_nothing_is_stored_of_a_call_that_is_over(
    ledger: LedgerInMemory, server: Loopback, clients: Clients
) -> None:
    server.on("/chat/completions", said(completion()), said({"error": {"message": "no"}}, 400))
    ask(clients, **GIVEN)
    with pytest.raises(openai.BadRequestError):
        ask(clients, **GIVEN)
    if hasattr(clients.openai.chat.completions, "stream"):
        clients.openai.chat.completions.stream(model="gpt-4o", messages=MESSAGES, **GIVEN)
    gc.collect()
    assert len(ledger.spans) == 2
    assert not vars(per_request)["_WAITING"], "a leak shows nowhere else"


def test_the_keywords_of_a_call_override_its_scope(
    ledger: LedgerInMemory, server: Loopback, clients: Clients
) -> None:
    server.on("/chat/completions", said(completion()))
    with tokenledger.attribution(user_id="outer", feature="outer"):
        ask(clients, tokenledger_user_id="inner", user="field")
    span = ledger.only()
    assert (span[attributes.USER_ID], span[attributes.FEATURE]) == ("inner", "outer")


def test_attribution_of_one_call_does_not_reach_the_next(
    ledger: LedgerInMemory, server: Loopback, clients: Clients
) -> None:
    server.on("/chat/completions", said(completion()))
    ask(clients, **GIVEN)
    ask(clients)
    assert attributes.USER_ID not in attributes_of(ledger.spans[1])


def test_a_value_that_cannot_be_read_does_not_fail_the_call(
    ledger: LedgerInMemory, server: Loopback, clients: Clients
) -> None:
    server.on("/chat/completions", said(completion()))
    ask(clients, tokenledger_user_id=None, tokenledger_tags="no mapping", tokenledger_team=5)
    assert attributes.USER_ID not in ledger.only()
    assert ledger.only()[attributes.TEAM] == "5"
    assert _guard.counts() == {"create(tokenledger_tags=)": 1}
    _guard.reset()


def test_the_keywords_are_dropped_while_disabled(
    ledger: LedgerInMemory, server: Loopback, clients: Clients
) -> None:
    server.on("/chat/completions", said(completion()))
    tokenledger.configure(enabled=False)
    ask(clients, **GIVEN)
    assert "tokenledger" not in str(server.requests[0]).lower()
    assert not ledger.spans


def test_after_unpatching_the_sdk_rejects_the_keywords(
    ledger: LedgerInMemory, server: Loopback, clients: Clients
) -> None:
    stored_method = clients.openai.chat.completions.create
    stored_raw_method = clients.openai.chat.completions.with_raw_response.create
    tokenledger.unpatch_openai()
    for method in (clients.openai.chat.completions.create, stored_method, stored_raw_method):
        with pytest.raises(TypeError, match="tokenledger_user_id"):
            method(model="gpt-4o", messages=MESSAGES, tokenledger_user_id="u")
    assert not server.requests
    assert not ledger.spans


def test_the_sdk_rejects_an_unknown_keyword_with_our_prefix(
    ledger: LedgerInMemory, clients: Clients
) -> None:
    with pytest.raises(TypeError, match="tokenledger_colour"):
        ask(clients, tokenledger_colour="red")
    assert not ledger.spans


@pytest.mark.parametrize(
    ("fields", "user"),
    [
        ({"user": "u-1"}, "u-1"),
        ({"safety_identifier": "s-1"}, "s-1"),
        ({"user": "u-1", "safety_identifier": "s-1"}, "u-1"),
        ({"extra_body": {"user": "u-1"}}, "u-1"),
        ({"user": "u-2", "extra_body": {"user": "u-1"}}, "u-1"),
        ({"user": "u-1", "extra_body": {"other": "x"}}, "u-1"),
    ],
    ids=["user", "safety identifier", "both", "extra", "extra over user", "other extra"],
)
@pytest.mark.parametrize("method", ["chat.completions.create", "responses.create"])
def test_openais_own_field_names_the_user(  # noqa: PLR0913, PLR0917 - three fixtures, three cases
    ledger: LedgerInMemory,
    server: Loopback,
    clients: Clients,
    fields: dict[str, Any],
    user: str,
    method: str,
) -> None:
    case = next(case for case in CASES if case.method == method)
    server.on(case.path, case.reply)
    for name in fields:
        needs_argument(method_of(clients.openai, method), name)
    method_of(clients.openai, method)(**case.arguments(), **fields)
    assert ledger.only()[attributes.USER_ID] == user


@pytest.mark.parametrize("method", ["messages.create", "beta.messages.create"])
def test_anthropics_own_field_names_the_user(
    ledger: LedgerInMemory, server: Loopback, clients: Clients, method: str
) -> None:
    server.on("/v1/messages", said(message()))
    create = method_of(clients.anthropic, method)
    create(**_ASKED, metadata={"user_id": "u-1"})
    with tokenledger.attribution(user_id="stronger"):
        create(**_ASKED, metadata={"user_id": "u-1"})
    users = [attributes_of(span)[attributes.USER_ID] for span in ledger.spans]
    assert users == ["u-1", "stronger"]
