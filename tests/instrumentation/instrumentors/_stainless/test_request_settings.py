"""The settings of a request are on its span: numbers and words, never a part of the prompt."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import pytest
from anthropic import Anthropic
from openai import OpenAI

from support.anthropic_answers import message
from support.ledger_in_memory import row_of
from support.loopback import Loopback, method_of, said
from support.openai_cases import (
    EMBEDDED,
    MESSAGES,
    PAINTED,
    PROMPT,
    completion,
    response,
)
from support.sdk_calls import Clients
from support.sdk_releases import needs_argument
from tokenledger import attribution
from tokenledger_semconv import attributes as names

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.ledger_in_memory import LedgerInMemory

KEY = "sk-canary-key"
STOP = "canary-stop"
SETTINGS = {
    value
    for name, value in vars(names).items()
    if name.startswith(("REQUEST_", "OPENAI_REQUEST", "ANTHROPIC_REQUEST"))
}


@pytest.fixture
def server() -> Iterator[Loopback]:
    with Loopback() as server:
        server.on("/chat/completions", said(completion()))
        server.on("/responses", said(response()))
        server.on("/embeddings", EMBEDDED)
        server.on("/images/generations", PAINTED)
        server.on("/v1/messages", said(message()))
        yield server


@pytest.fixture
def clients(server: Loopback) -> Iterator[Clients]:
    with (
        OpenAI(base_url=server.url, api_key=KEY, max_retries=0) as of_openai,
        Anthropic(base_url=server.url, api_key=KEY, max_retries=0) as of_anthropic,
    ):
        yield Clients(of_openai, of_anthropic)


def settings_of(ledger: LedgerInMemory) -> dict[str, Any]:
    """The settings on the only span, except its model and that it streams."""
    span = ledger.only()
    assert STOP not in str(span)
    assert PROMPT not in str(span)
    unasked = {names.REQUEST_MODEL, names.REQUEST_STREAM}
    return {name: value for name, value in span.items() if name in SETTINGS - unasked}


def test_a_chat_has_its_settings(ledger: LedgerInMemory, clients: Clients) -> None:
    create = method_of(clients.openai, "chat.completions.create")
    known = inspect.signature(create).parameters
    settings: dict[str, tuple[object, str]] = {
        "max_tokens": (101, names.REQUEST_MAX_TOKENS),
        "temperature": (0.25, names.REQUEST_TEMPERATURE),
        "top_p": (0.5, names.REQUEST_TOP_P),
        "frequency_penalty": (0.1, names.REQUEST_FREQUENCY_PENALTY),
        "presence_penalty": (-0.1, names.REQUEST_PRESENCE_PENALTY),
        "seed": (7, names.REQUEST_SEED),
        "n": (2, names.REQUEST_CHOICE_COUNT),
        "reasoning_effort": ("low", names.REQUEST_REASONING_LEVEL),
        "service_tier": ("flex", names.OPENAI_REQUEST_SERVICE_TIER),
    }
    requested = {name: value for name, (value, _) in settings.items() if name in known}
    create(model="gpt-4o", messages=MESSAGES, stop=[STOP], logit_bias={"1": 1}, **requested)
    assert settings_of(ledger) == {settings[name][1]: value for name, value in requested.items()}


def test_a_chat_has_its_newer_limit(ledger: LedgerInMemory, clients: Clients) -> None:
    create = method_of(clients.openai, "chat.completions.create")
    needs_argument(create, "max_completion_tokens")
    create(model="gpt-4o", messages=MESSAGES, max_completion_tokens=101)
    assert settings_of(ledger) == {names.REQUEST_MAX_TOKENS: 101}


def test_a_response_has_its_settings(ledger: LedgerInMemory, clients: Clients) -> None:
    create = method_of(clients.openai, "responses.create")
    create(
        model="gpt-4o",
        input=PROMPT,
        instructions=STOP,
        max_output_tokens=103,
        temperature=1,
        reasoning={"effort": "high", "summary": "auto"},
        service_tier="priority",
    )
    assert settings_of(ledger) == {
        names.REQUEST_MAX_TOKENS: 103,
        names.REQUEST_TEMPERATURE: 1,
        names.REQUEST_REASONING_LEVEL: "high",
        names.OPENAI_REQUEST_SERVICE_TIER: "priority",
    }
    assert ledger.only()[names.OPENAI_API_TYPE] == "responses"


@pytest.mark.parametrize("method", ["messages.create", "beta.messages.create"])
def test_a_message_has_its_settings(ledger: LedgerInMemory, clients: Clients, method: str) -> None:
    create = method_of(clients.anthropic, method)
    known = inspect.signature(create).parameters
    settings = {
        "temperature": (0.75, names.REQUEST_TEMPERATURE),
        "top_p": (0.125, names.REQUEST_TOP_P),
        "top_k": (5, names.REQUEST_TOP_K),
        "service_tier": ("standard_only", names.ANTHROPIC_REQUEST_SERVICE_TIER),
    }
    # Newer releases have no sampling settings, older ones no service tier.
    requested = {name: value for name, (value, _) in settings.items() if name in known}
    create(
        model="claude-canary",
        max_tokens=107,
        messages=MESSAGES,
        system=STOP,
        stop_sequences=[STOP],
        **requested,
    )
    expected = {settings[name][1]: value for name, value in requested.items()}
    assert settings_of(ledger) == {names.REQUEST_MAX_TOKENS: 107, **expected}


def test_an_embedding_has_its_dimensions(ledger: LedgerInMemory, clients: Clients) -> None:
    create = method_of(clients.openai, "embeddings.create")
    needs_argument(create, "dimensions")
    create(model="text-embedding-3-small", input=PROMPT, dimensions=256, encoding_format="float")
    assert settings_of(ledger) == {
        names.REQUEST_DIMENSIONS: 256,
        names.REQUEST_ENCODING_FORMATS: ("float",),
    }


def test_images_have_the_requested_number(ledger: LedgerInMemory, clients: Clients) -> None:
    clients.openai.images.generate(model="gpt-image-1", prompt=PROMPT, n=2)
    assert settings_of(ledger) == {names.REQUEST_CHOICE_COUNT: 2}
    assert ledger.only()[names.OUTPUT_TYPE] == "image"


def test_a_request_without_settings_has_none_on_its_span(
    ledger: LedgerInMemory, clients: Clients
) -> None:
    clients.openai.chat.completions.create(model="gpt-4o", messages=MESSAGES, temperature=None)
    assert settings_of(ledger) == {}


def test_an_invalid_request_has_its_valid_settings(
    ledger: LedgerInMemory, clients: Clients
) -> None:
    """An app may send anything; a list of words is not a setting."""
    create = method_of(clients.openai, "responses.create")
    create(
        model="gpt-4o",
        input=PROMPT,
        max_output_tokens=[STOP],
        reasoning="canary-stop",
        temperature={"canary-stop": 1},
    )
    assert settings_of(ledger) == {}


def test_a_message_has_its_effort(ledger: LedgerInMemory, clients: Clients) -> None:
    create = clients.anthropic.messages.create
    needs_argument(create, "output_config")
    create(model="claude-canary", max_tokens=1, messages=MESSAGES, output_config={"effort": "low"})
    assert settings_of(ledger)[names.REQUEST_REASONING_LEVEL] == "low"


def test_an_extra_body_field_replaces_the_argument(
    ledger: LedgerInMemory, clients: Clients, server: Loopback
) -> None:
    """Apps send it for fields that their release of the SDK has no argument for."""
    instead = {"model": "gpt-4o-mini", "service_tier": "flex", "temperature": 0.5, "user": "u-2"}
    clients.openai.chat.completions.create(
        model="gpt-4o", messages=MESSAGES, temperature=0.1, user="u-1", extra_body=instead
    )
    assert server.requests[0].json().items() >= instead.items()
    assert ledger.only()[names.REQUEST_MODEL] == "gpt-4o-mini"
    assert ledger.only()[names.USER_ID] == "u-2"
    assert settings_of(ledger) == {
        names.OPENAI_REQUEST_SERVICE_TIER: "flex",
        names.REQUEST_TEMPERATURE: 0.5,
    }


class HostileText(str):
    """A text of the app whose slices fail, as some lazy translations do."""

    __slots__ = ()

    def __getitem__(self, _index: object) -> str:
        raise RuntimeError

    def isascii(self) -> bool:
        raise RuntimeError


def test_a_call_with_texts_whose_own_methods_fail_is_recorded(
    ledger: LedgerInMemory, clients: Clients
) -> None:
    create = method_of(clients.openai, "chat.completions.create")
    needs_argument(create, "service_tier")
    create(
        model="gpt-4o",
        messages=MESSAGES,
        user=HostileText("u-1"),
        service_tier=HostileText("auto"),
    )
    span = ledger.only()
    assert span[names.USER_ID] == "u-1"
    assert span[names.OPENAI_REQUEST_SERVICE_TIER] == "auto"


_SCHEMA = {"type": "json_schema", "name": "answer", "schema": {"type": "object", "title": STOP}}


@pytest.mark.parametrize(
    ("output_format", "kind"),
    [
        ({"type": "json_object"}, "json"),
        ({"type": "json_schema", "json_schema": {"name": "answer", "schema": {}}}, "json"),
        ({"type": "text"}, "text"),
        ({"type": "grammar"}, None),
        (STOP, None),
    ],
)
def test_a_chat_has_the_kind_of_output_it_asks_for(
    ledger: LedgerInMemory, clients: Clients, output_format: object, kind: str | None
) -> None:
    create = method_of(clients.openai, "chat.completions.create")
    create(model="gpt-4o", messages=MESSAGES, response_format=output_format)
    assert settings_of(ledger) == {}
    assert ledger.only().get(names.OUTPUT_TYPE) == kind


def test_a_chat_that_asks_for_sound_has_speech_as_its_output(
    ledger: LedgerInMemory, clients: Clients
) -> None:
    create = method_of(clients.openai, "chat.completions.create")
    create(model="gpt-4o", messages=MESSAGES, extra_body={"modalities": ["text", "audio"]})
    assert ledger.only()[names.OUTPUT_TYPE] == "speech"


@pytest.mark.parametrize("conversation", ["conv_1", {"id": "conv_1"}])
def test_a_response_has_its_conversation_and_its_format(
    ledger: LedgerInMemory, clients: Clients, conversation: object
) -> None:
    create = method_of(clients.openai, "responses.create")
    create(
        model="gpt-4o",
        input=PROMPT,
        text={"format": _SCHEMA},
        previous_response_id="resp_0",
        extra_body={"conversation": conversation},
    )
    assert settings_of(ledger) == {names.REQUEST_PREVIOUS_RESPONSE_ID: "resp_0"}
    span = ledger.only()
    assert span[names.CONVERSATION_ID] == "conv_1"
    assert span[names.OUTPUT_TYPE] == "json"
    assert row_of(ledger.spans[0]).session_id == "conv_1"


def test_a_session_that_is_named_wins_over_the_conversation(
    ledger: LedgerInMemory, clients: Clients
) -> None:
    create = method_of(clients.openai, "responses.create")
    with attribution(session_id="mine"):
        create(model="gpt-4o", input=PROMPT, extra_body={"conversation": "conv_1"})
    assert row_of(ledger.spans[0]).session_id == "mine"


@pytest.mark.parametrize("field", ["output_config", "output_format"])
def test_a_message_has_the_kind_of_output_it_asks_for(
    ledger: LedgerInMemory, clients: Clients, field: str
) -> None:
    config = {"format": _SCHEMA} if field == "output_config" else _SCHEMA
    create = method_of(clients.anthropic, "messages.create")
    create(model="claude-canary", max_tokens=7, messages=MESSAGES, extra_body={field: config})
    assert ledger.only()[names.OUTPUT_TYPE] == "json"
    assert settings_of(ledger) == {names.REQUEST_MAX_TOKENS: 7}


def test_one_choice_is_the_default_and_is_left_out(
    ledger: LedgerInMemory, clients: Clients
) -> None:
    method_of(clients.openai, "chat.completions.create")(model="gpt-4o", messages=MESSAGES, n=1)
    assert settings_of(ledger) == {}
