"""Instrumentor of the Anthropic SDK: messages and beta messages, `create` and `stream`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Final, cast

from tokenledger.instrumentors.anthropic_usage import MessageStream, read_message
from tokenledger.instrumentors.baggage_shield import async_request, sync_request
from tokenledger.instrumentors.endpoint import endpoint_of
from tokenledger.instrumentors.patching import Patch, Patches, TableInstrumentor
from tokenledger.instrumentors.wrappers import (
    Prepared,
    Shape,
    async_call,
    async_close,
    async_enter,
    manager,
    sync_call,
    sync_close,
    sync_enter,
)
from tokenledger.reading import part
from tokenledger.tracing import Request

if TYPE_CHECKING:
    from collections.abc import Collection

    from tokenledger.instrumentors.wrappers import (
        Arguments,
    )


def _prepare_message(resource: object, kwargs: Arguments) -> Prepared:
    return _prepared(resource, kwargs, stream=kwargs.get("stream") is True)


def _prepare_stream(resource: object, kwargs: Arguments) -> Prepared:
    return _prepared(resource, kwargs, stream=True)


def _prepared(resource: object, kwargs: Arguments, *, stream: bool) -> Prepared:
    client = part(resource, "_client")
    endpoint = endpoint_of(client)
    model = kwargs.get("model")
    request = Request(
        operation="chat",
        provider="anthropic",
        model=model if isinstance(model, str) else "",
        address=endpoint.address,
        port=endpoint.port,
        stream=stream,
        user=_user(kwargs.get("metadata")),
    )
    return Prepared(request, kwargs, MessageStream() if stream else None)


def _user(metadata: object) -> object:
    if not isinstance(metadata, Mapping):
        return None
    return cast("Mapping[str, object]", metadata).get("user_id")


_MESSAGE: Final = Shape(_prepare_message, read_message)
_STREAM: Final = Shape(_prepare_stream, read_message)

_MESSAGES: Final = "anthropic.resources.messages.messages"
_BETA: Final = "anthropic.resources.beta.messages.messages"
_MANAGERS: Final = "anthropic.lib.streaming._messages"
_BETA_MANAGERS: Final = "anthropic.lib.streaming._beta_messages"
_STREAMS: Final = "anthropic._streaming"
_CLIENTS: Final = "anthropic._base_client"

TABLE: Final = (
    *(
        patch
        for module in (_MESSAGES, _BETA)
        for patch in (
            Patch(module, "Messages", "create", partial(sync_call, _MESSAGE)),
            Patch(module, "AsyncMessages", "create", partial(async_call, _MESSAGE)),
            Patch(module, "Messages", "stream", partial(manager, _STREAM)),
            Patch(module, "AsyncMessages", "stream", partial(manager, _STREAM)),
        )
    ),
    Patch(_MANAGERS, "MessageStreamManager", "__enter__", partial(sync_enter, _STREAM)),
    Patch(_MANAGERS, "AsyncMessageStreamManager", "__aenter__", partial(async_enter, _STREAM)),
    Patch(_BETA_MANAGERS, "BetaMessageStreamManager", "__enter__", partial(sync_enter, _STREAM)),
    Patch(
        _BETA_MANAGERS, "BetaAsyncMessageStreamManager", "__aenter__", partial(async_enter, _STREAM)
    ),
    Patch(_STREAMS, "Stream", "close", sync_close),
    Patch(_STREAMS, "AsyncStream", "close", async_close),
    Patch(_CLIENTS, "SyncAPIClient", "request", sync_request),
    Patch(_CLIENTS, "AsyncAPIClient", "request", async_request),
)
"""Everything of the SDK that is wrapped."""


class AnthropicInstrumentor(TableInstrumentor):
    """Records Anthropic calls. `instrument(tracer_provider=...)`, or the global provider."""

    scope = "anthropic"
    patches = Patches(TABLE)

    def instrumentation_dependencies(self) -> Collection[str]:
        """The SDK releases this was run with: 0.49.0 and 2.12.0."""
        return ("anthropic >= 0.49, < 3",)
