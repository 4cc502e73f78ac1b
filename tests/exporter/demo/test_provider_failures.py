"""The fake provider fails like the vendors and follows a test's script."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import anthropic
import openai
import pytest

from tokenledger_exporter.demo.provider import DemoProvider
from tokenledger_exporter.demo.scripts import Cut, FailStream, Recorded, Refuse, Stall, Use
from tokenledger_exporter.demo.wire import Event

if TYPE_CHECKING:
    from collections.abc import Generator

    from anthropic.types import MessageParam
    from openai.types.chat import ChatCompletionUserMessageParam

QUESTION: ChatCompletionUserMessageParam = {"role": "user", "content": "Where is my invoice?"}
ASKED: MessageParam = {"role": "user", "content": "Where is my invoice?"}
OPENAI_ERRORS = {
    400: (openai.BadRequestError, "invalid_type"),
    401: (openai.AuthenticationError, "invalid_api_key"),
    429: (openai.RateLimitError, "rate_limit_exceeded"),
    500: (openai.InternalServerError, None),
}
ANTHROPIC_ERRORS = {
    400: (anthropic.BadRequestError, "invalid_request_error"),
    401: (anthropic.AuthenticationError, "authentication_error"),
    429: (anthropic.RateLimitError, "rate_limit_error"),
    500: (anthropic.InternalServerError, "api_error"),
    529: (anthropic.APIStatusError, "overloaded_error"),
}


@pytest.fixture
def provider() -> Generator[DemoProvider]:
    with DemoProvider() as running:
        yield running


@pytest.fixture
def chat(provider: DemoProvider) -> Generator[openai.OpenAI]:
    with openai.OpenAI(base_url=provider.openai_base_url, api_key="k", max_retries=0) as client:
        yield client


@pytest.fixture
def claude(provider: DemoProvider) -> Generator[anthropic.Anthropic]:
    url = provider.anthropic_base_url
    with anthropic.Anthropic(base_url=url, api_key="k", max_retries=0) as client:
        yield client


@pytest.mark.parametrize("status", sorted(OPENAI_ERRORS))
def test_openai_errors_are_the_sdks_own(chat: openai.OpenAI, status: int) -> None:
    kind, code = OPENAI_ERRORS[status]
    with pytest.raises(kind) as caught:
        chat.chat.completions.create(
            model="gpt-4o", messages=[QUESTION], extra_headers={"x-demo-status": str(status)}
        )
    assert caught.value.status_code == status
    assert (caught.value.request_id or "").startswith("req_")
    assert caught.value.code == code


@pytest.mark.parametrize("status", sorted(ANTHROPIC_ERRORS))
def test_anthropic_errors_are_the_sdks_own(
    claude: anthropic.Anthropic, provider: DemoProvider, status: int
) -> None:
    kind, name = ANTHROPIC_ERRORS[status]
    provider.script(Refuse(status))
    with pytest.raises(kind) as caught:
        claude.messages.create(model="claude-haiku-4-5", max_tokens=9, messages=[ASKED])
    assert caught.value.status_code == status
    assert (caught.value.request_id or "").startswith("req_")
    body: Any = caught.value.body
    assert body["error"]["type"] == name


def test_a_prompt_beyond_the_window_is_refused(chat: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        chat.chat.completions.create(
            model="gpt-4o-mini", messages=[{"role": "user", "content": "x" * 520_000}]
        )
    assert caught.value.code == "context_length_exceeded"


@pytest.mark.parametrize("script", [Cut(), Cut(after_events=2)], ids=["before", "mid-stream"])
def test_a_cut_connection_is_a_connection_error(
    chat: openai.OpenAI, provider: DemoProvider, script: Cut
) -> None:
    provider.script(script)
    # openai 2.x raises the transport's error once a stream has started.
    with pytest.raises(Exception, match=r"[Cc]onnection"):
        list(chat.chat.completions.create(model="gpt-4o", messages=[QUESTION], stream=True))


def test_an_error_in_the_middle_of_a_stream_reaches_the_app(
    chat: openai.OpenAI, claude: anthropic.Anthropic, provider: DemoProvider
) -> None:
    provider.script(*[FailStream(after_events=2)] * 3)
    seen: list[str] = []
    with pytest.raises(openai.APIError):
        seen.extend(
            chunk.id
            for chunk in chat.chat.completions.create(
                model="gpt-4o", messages=[QUESTION], stream=True
            )
        )
    with pytest.raises(anthropic.APIStatusError):
        list(
            claude.messages.create(
                model="claude-haiku-4-5", max_tokens=9, messages=[ASKED], stream=True
            )
        )
    events = list(chat.responses.create(model="gpt-4o", input="Where?", stream=True))
    assert [event.type for event in events] == ["response.created", "response.in_progress", "error"]


def test_a_stalled_stream_continues_when_it_is_released(
    chat: openai.OpenAI, provider: DemoProvider
) -> None:
    stall = Stall(after_events=1)
    provider.script(stall)
    answers: list[int] = []

    def ask() -> None:
        stream = chat.chat.completions.create(model="gpt-4o", messages=[QUESTION], stream=True)
        answers.append(len(list(stream)))

    asking = threading.Thread(target=ask)
    asking.start()
    assert stall.reached.wait(5)
    assert answers == []
    stall.release()
    asking.join(5)
    assert answers[0] > 2


def test_stopping_closes_stalled_and_idle_connections() -> None:
    stall = Stall()
    with DemoProvider() as provider:
        provider.script(stall)
        client = openai.OpenAI(base_url=provider.openai_base_url, api_key="k", max_retries=0)

        def ask() -> None:
            with pytest.raises(openai.APIConnectionError):
                client.chat.completions.create(model="gpt-4o", messages=[QUESTION])

        asking = threading.Thread(target=ask)
        asking.start()
        assert stall.reached.wait(30)
    asking.join(30)
    client.close()
    assert not asking.is_alive()


def test_scripts_are_used_in_order_and_then_answers_are_ordinary(
    chat: openai.OpenAI, provider: DemoProvider
) -> None:
    recorded = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m"}
    provider.script(Use({"input": 3, "output": 2}), Recorded({**recorded, "choices": []}))
    answers = [chat.chat.completions.create(model="gpt-4o", messages=[QUESTION]) for _ in range(3)]
    assert answers[0].usage is not None
    assert answers[0].usage.total_tokens == 5
    assert (answers[1].id, answers[1].usage) == ("chatcmpl-1", None)
    assert answers[2].usage is not None
    assert [request.path for request in provider.requests] == ["/v1/chat/completions"] * 3


def test_recorded_events_are_replayed_unchanged(
    chat: openai.OpenAI, provider: DemoProvider
) -> None:
    chunk = {"id": "chatcmpl-2", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    provider.script(Recorded(events=[Event(None, {**chunk, "choices": []}), Event(None, "[DONE]")]))
    stream = chat.chat.completions.create(model="gpt-4o", messages=[QUESTION], stream=True)
    assert [piece.id for piece in stream] == ["chatcmpl-2"]


def test_unknown_paths_get_the_vendors_404(
    chat: openai.OpenAI, claude: anthropic.Anthropic
) -> None:
    with pytest.raises(openai.NotFoundError):
        chat.files.list()
    with pytest.raises(anthropic.NotFoundError):
        claude.models.list()
