"""A call that found no connection was not sent; one that may have been sent is not known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anthropic
import openai
import pytest

from support.fake_provider import Refuse
from support.loopback import method_of
from support.ports import free_port
from support.sdk_calls import CHAT, CHAT_STREAM, MESSAGE, MESSAGE_STREAM, run
from support.sdk_releases import async_http_client, sync_http_client
from tokenledger_semconv.attributes import ERROR_TYPE, NOT_SENT

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.fake_provider import DemoProvider
    from support.ledger_in_memory import LedgerInMemory
    from support.sdk_calls import Clients, Shape

_SHAPES = (CHAT, CHAT_STREAM, MESSAGE, MESSAGE_STREAM)
_SDKS = {"openai": openai, "anthropic": anthropic}
_CLASSES: dict[str, tuple[Any, Any]] = {
    "openai": (openai.OpenAI, openai.AsyncOpenAI),
    "anthropic": (anthropic.Anthropic, anthropic.AsyncAnthropic),
}


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDKs pause between attempts; how long is not tested here."""
    for sdk in ("openai", "anthropic"):
        module = f"{sdk}._base_client"
        monkeypatch.setattr(f"{module}.INITIAL_RETRY_DELAY", 0)
        monkeypatch.setattr(f"{module}.MAX_RETRY_DELAY", 0)


def _second_to(port: int) -> Callable[[Any], None]:
    """A hook that sends every request but the first to another port."""
    requests: list[object] = []

    def redirect(request: Any) -> None:  # noqa: ANN401 - of httpx or httpx2
        requests.append(request)
        if len(requests) > 1:
            request.url = request.url.copy_with(port=port)

    return redirect


def _call(client: Any, shape: Shape) -> Any:  # noqa: ANN401 - of two SDKs
    return method_of(client, shape.method)(**shape.arguments)


@pytest.mark.parametrize("retries", [0, 2])
@pytest.mark.parametrize("shape", _SHAPES, ids=str)
def test_a_refused_connection_was_not_sent(
    ledger: LedgerInMemory, shape: Shape, retries: int
) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    http_client = sync_http_client(_SDKS[shape.sdk])
    with (
        _CLASSES[shape.sdk][0](
            base_url=url, api_key="k", max_retries=retries, http_client=http_client
        ) as client,
        pytest.raises(Exception, match="Connection error"),
    ):
        _call(client, shape)
    assert ledger.only()[NOT_SENT] is True
    assert ledger.only()[ERROR_TYPE] == "APIConnectionError"


@pytest.mark.parametrize("shape", [CHAT, MESSAGE], ids=str)
@pytest.mark.asyncio
async def test_an_async_client_sees_it_too(ledger: LedgerInMemory, shape: Shape) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    http_client = async_http_client(_SDKS[shape.sdk])
    async with _CLASSES[shape.sdk][1](
        base_url=url, api_key="k", max_retries=1, http_client=http_client
    ) as client:
        with pytest.raises(Exception, match="Connection error"):
            await _call(client, shape)
    assert ledger.only()[NOT_SENT] is True


@pytest.mark.parametrize("shape", [CHAT, MESSAGE], ids=str)
def test_an_answered_attempt_may_be_billed_if_the_next_finds_no_connection(
    ledger: LedgerInMemory, clients: Clients, provider: DemoProvider, shape: Shape
) -> None:
    provider.script(Refuse(500))
    http_client = sync_http_client(
        _SDKS[shape.sdk], event_hooks={"request": [_second_to(free_port())]}
    )
    client = getattr(clients, shape.sdk).with_options(max_retries=1, http_client=http_client)
    with http_client, pytest.raises(Exception, match="Connection error"):
        _call(client, shape)
    assert NOT_SENT not in ledger.only()


@pytest.mark.parametrize("shape", [CHAT, MESSAGE], ids=str)
def test_a_rejected_call_was_sent(
    ledger: LedgerInMemory, clients: Clients, provider: DemoProvider, shape: Shape
) -> None:
    provider.script(Refuse(500))
    with pytest.raises(Exception, match="500"):
        run(clients, shape)
    assert NOT_SENT not in ledger.only()
