"""Instrumentor of the Anthropic SDK: messages in every form, and the results of message batches."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from tokenledger.instrumentors.anthropic_aside import read_aside
from tokenledger.instrumentors.anthropic_usage import MESSAGE_TEXT, MessageStream, read_message
from tokenledger.instrumentors.endpoint import Endpoints
from tokenledger.instrumentors.exchange import (
    Api,
    async_close,
    async_request,
    sync_close,
    sync_request,
)
from tokenledger.instrumentors.patching import Patch, Patches
from tokenledger.instrumentors.per_request import takes_attribution
from tokenledger.instrumentors.shape import COMMON_SETTINGS, Shape
from tokenledger.instrumentors.table_instrumentor import TableInstrumentor
from tokenledger.reading import fields_of
from tokenledger_semconv import attributes as names

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from tokenledger.instrumentors.shape import Body
    from tokenledger.reading import Found


def _user(body: Body) -> object:
    return fields_of(body["metadata"]).get("user_id") if "metadata" in body else None


def _note_effort(body: Body, told: Found) -> None:
    if config := body.get("output_config"):
        effort = fields_of(config).get("effort")
        if isinstance(effort, str):
            told[names.REQUEST_REASONING_LEVEL] = effort


_MESSAGE: Final = Shape(
    {names.OPERATION_NAME: "chat"},
    read_message,
    MessageStream,
    MESSAGE_TEXT,
    user=_user,
    settings={**COMMON_SETTINGS, "service_tier": names.ANTHROPIC_REQUEST_SERVICE_TIER},
    note=_note_effort,
)

SHAPES: Final[Mapping[str, Shape]] = {
    "/v1/messages": _MESSAGE,
    "/v1/messages?beta=true": _MESSAGE,
    "/v1/complete": Shape({names.OPERATION_NAME: "text_completion"}, read_message),
}
"""Path below the base URL -> what is called there; counting tokens is free and has no row. The
clients of other clouds rewrite these paths further down. Paths of anthropic 0.18 to 2.14.0,
2026-11-26."""

API: Final = Api(SHAPES, Endpoints("anthropic"), read_aside)
"""What is known of the Anthropic SDK."""

_CLIENTS: Final = "anthropic._base_client"
_STREAMS: Final = "anthropic._streaming"
_TAKING: Final = (
    # Until anthropic 0.40 the messages were one module.
    ("anthropic.resources.messages", ("create", "stream", "parse")),
    ("anthropic.resources.messages.messages", ("create", "stream", "parse")),
    ("anthropic.resources.beta.messages", ("create", "stream", "parse", "tool_runner")),
    ("anthropic.resources.beta.messages.messages", ("create", "stream", "parse", "tool_runner")),
)

TABLE: Final = (
    Patch(_CLIENTS, "SyncAPIClient", "request", partial(sync_request, API)),
    Patch(_CLIENTS, "AsyncAPIClient", "request", partial(async_request, API)),
    # The SDK has none there: what stands at these names is another tool's, and would pass us by.
    Patch("anthropic._client", "Anthropic", "request", partial(sync_request, API), optional=True),
    Patch(
        "anthropic._client", "AsyncAnthropic", "request", partial(async_request, API), optional=True
    ),
    Patch(_STREAMS, "Stream", "close", sync_close),
    Patch(_STREAMS, "AsyncStream", "close", async_close),
    *(
        Patch(module, owner, method, takes_attribution, optional=True)
        for module, methods in _TAKING
        for method in methods
        for owner in ("Messages", "AsyncMessages")
    ),
)
"""Everything of the SDK that is wrapped."""


class AnthropicInstrumentor(TableInstrumentor):
    """Records Anthropic calls. `instrument(tracer_provider=...)`, or the global provider."""

    scope = "anthropic"
    patches = Patches(TABLE)
    api = API

    def instrumentation_dependencies(self) -> Collection[str]:
        """The SDK releases this was run with: 0.18.0 to 2.14.0."""
        return ("anthropic >= 0.18, < 3",)
