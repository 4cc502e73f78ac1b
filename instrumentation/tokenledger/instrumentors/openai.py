"""Instrumentor of the OpenAI SDK: chat completions, responses and embeddings.

A chat stream carries its usage only if `stream_options.include_usage` asks for it. Where the caller
says nothing about it, it is asked for here, and what that adds to the stream is kept from the app;
a host that refuses to be asked gets the caller's own request.
"""

from __future__ import annotations

from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Final

from tokenledger.instrumentors.baggage_shield import async_request, sync_request
from tokenledger.instrumentors.endpoint import Endpoint, endpoint_of
from tokenledger.instrumentors.openai_usage import (
    ChatStream,
    ResponseStream,
    read_chat,
    read_embeddings,
    read_response,
)
from tokenledger.instrumentors.patching import Patch, Patches, TableInstrumentor
from tokenledger.instrumentors.usage_request import (
    REFUSING_HOSTS,
    asking,
    can_repeat,
    is_refusal,
    may_ask,
)
from tokenledger.instrumentors.wrappers import (
    Fallback,
    Prepared,
    Shape,
    async_call,
    async_close,
    sync_call,
    sync_close,
)
from tokenledger.reading import part
from tokenledger.tracing import Request
from tokenledger_semconv.attributes import OPENAI_API_TYPE

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from tokenledger.instrumentors.wrappers import (
        Arguments,
    )

_FIELDS_SET: Final = attrgetter("__pydantic_fields_set__")
_AZURE_CLIENTS: Final = ("AzureOpenAI", "AsyncAzureOpenAI")
_AZURE_HOST: Final = ".openai.azure.com"


def _prepare_chat(resource: object, kwargs: Arguments) -> Prepared:
    request = _request(resource, kwargs, "chat", {OPENAI_API_TYPE: "chat_completions"})
    if not request.stream:
        return Prepared(request, kwargs)
    as_it_is = Prepared(request, kwargs, ChatStream())
    host = Endpoint(request.address, request.port)
    if host in REFUSING_HOSTS or not may_ask(kwargs):
        return as_it_is
    fallback = Fallback(as_it_is, is_refusal, partial(REFUSING_HOSTS.add, host))
    return Prepared(
        request,
        asking(kwargs),
        ChatStream(hides_usage=True),
        _forget_usage,
        fallback if can_repeat(kwargs) else None,
    )


def _prepare_response(resource: object, kwargs: Arguments) -> Prepared:
    request = _request(resource, kwargs, "chat", {OPENAI_API_TYPE: "responses"})
    return Prepared(request, kwargs, ResponseStream() if request.stream else None)


def _prepare_embeddings(resource: object, kwargs: Arguments) -> Prepared:
    return Prepared(_request(resource, kwargs, "embeddings", {}), kwargs)


def _request(
    resource: object, kwargs: Arguments, operation: str, further: Mapping[str, str]
) -> Request:
    client = part(resource, "_client")
    endpoint = endpoint_of(client)
    model = kwargs.get("model")
    return Request(
        operation=operation,
        provider=_provider(client, endpoint.address),
        model=model if isinstance(model, str) else "",
        address=endpoint.address,
        port=endpoint.port,
        stream=kwargs.get("stream") is True,
        user=kwargs.get("user"),
        further=further,
    )


def _provider(client: object, address: str) -> str:
    is_azure = type(client).__name__ in _AZURE_CLIENTS or address.endswith(_AZURE_HOST)
    return "azure.ai.openai" if is_azure else "openai"


def _forget_usage(chunk: object) -> None:
    """Take off the `"usage": null` that asking for usage puts on every chunk."""
    _FIELDS_SET(chunk).discard("usage")


_CHAT: Final = Shape(_prepare_chat, read_chat)
_RESPONSE: Final = Shape(_prepare_response, read_response)
_EMBEDDINGS: Final = Shape(_prepare_embeddings, read_embeddings)

_CHAT_MODULE: Final = "openai.resources.chat.completions.completions"
_RESPONSE_MODULE: Final = "openai.resources.responses.responses"
_EMBEDDINGS_MODULE: Final = "openai.resources.embeddings"
_STREAM_MODULE: Final = "openai._streaming"
_CLIENT_MODULE: Final = "openai._base_client"

TABLE: Final = (
    Patch(_CHAT_MODULE, "Completions", "create", partial(sync_call, _CHAT)),
    Patch(_CHAT_MODULE, "AsyncCompletions", "create", partial(async_call, _CHAT)),
    Patch(_RESPONSE_MODULE, "Responses", "create", partial(sync_call, _RESPONSE)),
    Patch(_RESPONSE_MODULE, "AsyncResponses", "create", partial(async_call, _RESPONSE)),
    Patch(_EMBEDDINGS_MODULE, "Embeddings", "create", partial(sync_call, _EMBEDDINGS)),
    Patch(_EMBEDDINGS_MODULE, "AsyncEmbeddings", "create", partial(async_call, _EMBEDDINGS)),
    Patch(_STREAM_MODULE, "Stream", "close", sync_close),
    Patch(_STREAM_MODULE, "AsyncStream", "close", async_close),
    Patch(_CLIENT_MODULE, "SyncAPIClient", "request", sync_request),
    Patch(_CLIENT_MODULE, "AsyncAPIClient", "request", async_request),
)
"""Everything of the SDK that is wrapped."""


class OpenAIInstrumentor(TableInstrumentor):
    """Records OpenAI calls. `instrument(tracer_provider=...)`, or the global provider."""

    scope = "openai"
    patches = Patches(TABLE)

    def instrumentation_dependencies(self) -> Collection[str]:
        """The SDK releases this was run with: 2.0.0 and 3.54.0."""
        return ("openai >= 2.0, < 4",)
