"""Instrumentor of the Anthropic SDK: messages in every form, and the results of message batches."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from tokenledger._usage.anthropic import MESSAGE_TEXT, MessageStream, read_message
from tokenledger._usage.fields import fields_of, part, text
from tokenledger.instrumentors._base.api import Api
from tokenledger.instrumentors._base.api_shape import COMMON_SETTINGS, Shape, add_output_type
from tokenledger.instrumentors._base.endpoints import Endpoints
from tokenledger.instrumentors._base.instrumentor import TableInstrumentor
from tokenledger.instrumentors._base.patch_table import Patch, Patches
from tokenledger.instrumentors._stainless.attempts import notes_attempt
from tokenledger.instrumentors._stainless.call_keywords import takes_attribution
from tokenledger.instrumentors._stainless.request import (
    async_close,
    async_request,
    sync_close,
    sync_request,
)
from tokenledger.instrumentors.anthropic.batches import read_other_answer
from tokenledger_semconv import attributes as names
from tokenledger_semconv.dimensions import MAX_VALUE_LENGTH

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from tokenledger._usage.fields import Attributes
    from tokenledger.instrumentors._base.api_shape import Body


def _user(body: Body) -> object:
    # If it was left out, a marker object of the SDK's own is in its place, which is false.
    return fields_of(metadata).get("user_id") if (metadata := body.get("metadata")) else None


def _read_output_config(value: object, attributes: Attributes) -> None:
    if effort := text(value, "effort"):
        attributes[names.REQUEST_REASONING_LEVEL] = effort[:MAX_VALUE_LENGTH]
    add_output_type(part(value, "format"), attributes)


_MESSAGE: Final = Shape(
    {names.OPERATION_NAME: "chat"},
    read_message,
    MessageStream,
    MESSAGE_TEXT,
    user=_user,
    settings={
        **COMMON_SETTINGS,
        "service_tier": names.ANTHROPIC_REQUEST_SERVICE_TIER,
    },
    # `output_format` is the name before `output_config`.
    objects={"output_config": _read_output_config, "output_format": add_output_type},
)

SHAPES: Final[Mapping[str, Shape]] = {
    "/v1/messages": _MESSAGE,
    "/v1/messages?beta=true": _MESSAGE,
    "/v1/complete": Shape({names.OPERATION_NAME: "text_completion"}, read_message),
}
"""Path below the base URL -> the API there. Counting tokens is free and is not recorded. Clients of
other clouds rewrite these paths later. Paths of anthropic 0.18 to 2.14.0, 2026-11-26."""

CLIENT_CLASSES: Final[Mapping[str, str]] = {
    "AnthropicBedrock": "aws.bedrock",
    "AsyncAnthropicBedrock": "aws.bedrock",
    "AnthropicBedrockMantle": "aws.bedrock",
    "AsyncAnthropicBedrockMantle": "aws.bedrock",
    "AnthropicVertex": "gcp.vertex_ai",
    "AsyncAnthropicVertex": "gcp.vertex_ai",
    "AnthropicFoundry": "azure.ai.inference",
    "AsyncAnthropicFoundry": "azure.ai.inference",
}
"""Class of a client -> the provider it calls, where the host does not tell."""

API: Final = Api(SHAPES, Endpoints("anthropic", CLIENT_CLASSES), read_other_answer)
"""What is known about the Anthropic SDK."""

_CLIENTS: Final = "anthropic._base_client"
_STREAMS: Final = "anthropic._streaming"
_METHODS_WITH_KEYWORDS: Final = (
    # Until anthropic 0.40 the messages were one module.
    ("anthropic.resources.messages", ("create", "stream", "parse")),
    ("anthropic.resources.messages.messages", ("create", "stream", "parse")),
    ("anthropic.resources.beta.messages", ("create", "stream", "parse", "tool_runner")),
    ("anthropic.resources.beta.messages.messages", ("create", "stream", "parse", "tool_runner")),
)

TABLE: Final = (
    Patch(_CLIENTS, "SyncAPIClient", "request", partial(sync_request, API)),
    Patch(_CLIENTS, "AsyncAPIClient", "request", partial(async_request, API)),
    # `_retry_request` is the older one.
    *(
        Patch(_CLIENTS, owner, method, notes_attempt, optional=True)
        for owner in ("SyncAPIClient", "AsyncAPIClient")
        for method in ("_sleep_for_retry", "_retry_request")
    ),
    # The SDK defines none here. If another tool adds one, its calls would bypass the two above.
    Patch("anthropic._client", "Anthropic", "request", partial(sync_request, API), optional=True),
    Patch(
        "anthropic._client", "AsyncAnthropic", "request", partial(async_request, API), optional=True
    ),
    Patch(_STREAMS, "Stream", "close", sync_close),
    Patch(_STREAMS, "AsyncStream", "close", async_close),
    *(
        Patch(module, owner, method, takes_attribution, optional=True)
        for module, methods in _METHODS_WITH_KEYWORDS
        for method in methods
        for owner in ("Messages", "AsyncMessages")
    ),
)
"""Every method of the SDK that is patched."""


class AnthropicInstrumentor(TableInstrumentor):
    """Records Anthropic calls. `instrument(tracer_provider=...)`, or the global provider."""

    scope = "anthropic"
    patches = Patches(TABLE)
    api = API

    def instrumentation_dependencies(self) -> Collection[str]:
        """The SDK releases this was tested with: 0.18.0 to 2.14.0."""
        return ("anthropic >= 0.18, < 3",)
