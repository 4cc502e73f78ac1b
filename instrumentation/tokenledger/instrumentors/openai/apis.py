"""Instrumentor of the OpenAI SDK: every API that a provider bills, and moderations, which are free.

A chat stream reports its usage only if `stream_options.include_usage` asks for it. If the caller
leaves that open, we ask, and hide what the usage option adds to the stream from the app. A host
that refuses the usage option gets the caller's own request.
"""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Final

from tokenledger._attribution.layers import clean
from tokenledger._usage.fields import part, text
from tokenledger._usage.openai import (
    COMPLETION_TEXT,
    ChatStream,
    CompletionStream,
    read_audio,
    read_chat,
    read_images,
    read_response,
    read_usage,
)
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
from tokenledger.instrumentors.openai.ask_for_usage import ask_for_usage
from tokenledger.instrumentors.openai.batches import read_other_answer
from tokenledger.instrumentors.openai.events import (
    NO_TEXT,
    RESPONSE_TEXT,
    TRANSCRIPT_TEXT,
    image_stream,
    read_speech,
    response_stream,
    speech_stream,
    transcript_stream,
)
from tokenledger.instrumentors.openai.realtime import async_received, received
from tokenledger_semconv import attributes as names
from tokenledger_semconv.dimensions import MAX_VALUE_LENGTH

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from opentelemetry.util.types import AttributeValue

    from tokenledger._usage.fields import Attributes
    from tokenledger.instrumentors._base.api_shape import Body, ReadSetting

_OPERATION: Final = names.OPERATION_NAME


def _user(body: Body) -> object:
    return body.get("user") or body.get("safety_identifier")


def _read_reasoning(value: object, attributes: Attributes) -> None:
    if effort := text(value, "effort"):
        attributes[names.REQUEST_REASONING_LEVEL] = effort[:MAX_VALUE_LENGTH]


def _read_text(value: object, attributes: Attributes) -> None:
    add_output_type(part(value, "format"), attributes)


def _read_conversation(value: object, attributes: Attributes) -> None:
    if identity := text(value, "id"):
        attributes[names.CONVERSATION_ID] = clean(identity)


def _add_encoding(body: Body, attributes: Attributes) -> None:
    if isinstance(encoding := body.get("encoding_format"), str):
        attributes[names.REQUEST_ENCODING_FORMATS] = (clean(encoding),)


def _read_modalities(value: object, attributes: Attributes) -> None:
    """Sound in addition to text is the more specific request."""
    if isinstance(value, (list, tuple)) and "audio" in value:
        attributes[names.OUTPUT_TYPE] = "speech"


def _add_characters(body: Body, attributes: Attributes) -> None:
    if isinstance(spoken := body.get("input"), str):
        attributes[names.INPUT_CHARACTERS] = len(spoken)


_SETTINGS: Final[Mapping[str, str]] = {
    **COMMON_SETTINGS,
    "service_tier": names.OPENAI_REQUEST_SERVICE_TIER,
}
_RESPONSE_SETTINGS: Final[Mapping[str, str]] = {
    **_SETTINGS,
    "conversation": names.CONVERSATION_ID,
    "previous_response_id": names.REQUEST_PREVIOUS_RESPONSE_ID,
}
_RESPONSE_OBJECTS: Final[Mapping[str, ReadSetting]] = {
    "reasoning": _read_reasoning,
    "text": _read_text,
    "conversation": _read_conversation,
}
_RESPONSE: Final = Shape(
    {_OPERATION: "chat", names.OPENAI_API_TYPE: "responses"},
    read_response,
    response_stream,
    RESPONSE_TEXT,
    user=_user,
    settings=_RESPONSE_SETTINGS,
    objects=_RESPONSE_OBJECTS,
)
_COMPACTION: Final = Shape({_OPERATION: "chat", names.OPENAI_API_TYPE: "responses"}, read_usage)

SHAPES: Final[Mapping[str, Shape]] = {
    "/chat/completions": Shape(
        {_OPERATION: "chat", names.OPENAI_API_TYPE: "chat_completions"},
        read_chat,
        ChatStream,
        user=_user,
        settings=_SETTINGS,
        objects={"response_format": add_output_type, "modalities": _read_modalities},
        ask_for_usage=ask_for_usage,
    ),
    "/responses": _RESPONSE,
    "/responses?beta=true": _RESPONSE,
    "/responses/compact": _COMPACTION,
    "/responses/compact?beta=true": _COMPACTION,
    "/decisions": Shape({_OPERATION: "chat"}, read_usage, user=_user),
    "/completions": Shape(
        {_OPERATION: "text_completion"},
        read_chat,
        CompletionStream,
        COMPLETION_TEXT,
        user=_user,
        settings=_SETTINGS,
        ask_for_usage=ask_for_usage,
    ),
    "/embeddings": Shape({_OPERATION: "embeddings"}, read_usage, user=_user, note=_add_encoding),
    "/moderations": Shape({_OPERATION: "moderation"}, read_usage),
    "/images/generations": Shape(
        {_OPERATION: "image_generation", names.OUTPUT_TYPE: "image"},
        read_images,
        image_stream,
        NO_TEXT,
        user=_user,
    ),
    "/images/edits": Shape(
        {_OPERATION: "image_generation", names.OUTPUT_TYPE: "image"},
        read_images,
        image_stream,
        NO_TEXT,
        user=_user,
    ),
    "/images/variations": Shape(
        {_OPERATION: "image_generation", names.OUTPUT_TYPE: "image"}, read_images, user=_user
    ),
    "/audio/transcriptions": Shape(
        {_OPERATION: "transcription"}, read_audio, transcript_stream, TRANSCRIPT_TEXT
    ),
    "/audio/translations": Shape({_OPERATION: "translation"}, read_audio),
    "/audio/speech": Shape(
        {_OPERATION: "speech", names.OUTPUT_TYPE: "speech"},
        read_speech,
        speech_stream,
        NO_TEXT,
        note=_add_characters,
    ),
}
"""Path below the base URL -> the API there. Paths of openai 1.x to 3.57.0, 2026-11-26."""

CLIENT_CLASSES: Final[Mapping[str, str]] = {
    "AzureOpenAI": "azure.ai.openai",
    "AsyncAzureOpenAI": "azure.ai.openai",
    "BedrockOpenAI": "aws.bedrock",
    "AsyncBedrockOpenAI": "aws.bedrock",
}
"""Class of a client -> the provider it calls, where the host does not tell."""

# Ref: OpenAI's "Data controls" (data residency), read 2026-11-26 in a copy of October.
_REGION: Final = re.compile(r"([a-z]{2})\.api\.openai\.com")


def region_of(host: str) -> Mapping[str, AttributeValue]:
    """The region in the name of one of OpenAI's hosts."""
    region = _REGION.fullmatch(host.lower().rstrip("."))
    return {} if region is None else {names.OPENAI_REGION: region[1]}


API: Final = Api(SHAPES, Endpoints("openai", CLIENT_CLASSES, region_of), read_other_answer)
"""What is known about the OpenAI SDK."""

_CLIENTS: Final = "openai._base_client"
_STREAMS: Final = "openai._streaming"
_CHAT: Final = "openai.resources.chat.completions"
_BETA_CHAT: Final = "openai.resources.beta.chat.completions"
_METHODS_WITH_KEYWORDS: Final = (
    # Until openai 1.58 the chat completions were one module.
    (_CHAT, "Completions", ("create", "parse", "stream")),
    (f"{_CHAT}.completions", "Completions", ("create", "parse", "stream")),
    (_BETA_CHAT, "Completions", ("parse", "stream")),
    ("openai.resources.responses.responses", "Responses", ("create", "parse", "stream", "compact")),
    ("openai.resources.beta.responses.responses", "Responses", ("create", "compact")),
    ("openai.resources.decisions", "Decisions", ("create",)),
    ("openai.resources.completions", "Completions", ("create",)),
    ("openai.resources.embeddings", "Embeddings", ("create",)),
    ("openai.resources.moderations", "Moderations", ("create",)),
    ("openai.resources.images", "Images", ("generate", "edit", "create_variation")),
    ("openai.resources.audio.transcriptions", "Transcriptions", ("create",)),
    ("openai.resources.audio.translations", "Translations", ("create",)),
    ("openai.resources.audio.speech", "Speech", ("create",)),
)
_HELPERS: Final = (
    ("openai.lib.streaming.chat._completions", "ChatCompletionStream"),
    ("openai.lib.streaming.responses._responses", "ResponseStream"),
)
_SOCKETS: Final = (
    ("openai.resources.realtime.realtime", "RealtimeConnection"),
    ("openai.resources.beta.realtime.realtime", "RealtimeConnection"),
    ("openai.resources.responses.responses", "ResponsesConnection"),
    ("openai.resources.beta.responses.responses", "ResponsesConnection"),
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
    Patch("openai._client", "OpenAI", "request", partial(sync_request, API), optional=True),
    Patch("openai._client", "AsyncOpenAI", "request", partial(async_request, API), optional=True),
    Patch(_STREAMS, "Stream", "close", sync_close),
    Patch(_STREAMS, "AsyncStream", "close", async_close),
    *(
        Patch(module, prefix + owner, "close", around, optional=True)
        for module, owner in _HELPERS
        for prefix, around in (("", sync_close), ("Async", async_close))
    ),
    *(
        Patch(module, prefix + owner, method, takes_attribution, optional=True)
        for module, owner, methods in _METHODS_WITH_KEYWORDS
        for method in methods
        for prefix in ("", "Async")
    ),
    *(
        Patch(module, prefix + owner, "recv_bytes", around, optional=True)
        for module, owner in _SOCKETS
        for prefix, around in (
            ("", partial(received, API)),
            ("Async", partial(async_received, API)),
        )
    ),
)
"""Every method of the SDK that is patched."""


class OpenAIInstrumentor(TableInstrumentor):
    """Records OpenAI calls. `instrument(tracer_provider=...)`, or the global provider."""

    scope = "openai"
    patches = Patches(TABLE)
    api = API

    def instrumentation_dependencies(self) -> Collection[str]:
        """The SDK releases this was tested with: 1.26.0 to 3.57.0."""
        return ("openai >= 1.26, < 4",)
