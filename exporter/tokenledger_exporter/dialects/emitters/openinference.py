"""OpenInference (openai 0.1.66, anthropic 3.1.0 and others): its own names, input inclusive."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from tokenledger_exporter.dialects.dialect import (
    Dialect,
    aliases,
    columns,
    counts,
    metadata,
    usage,
    values,
)
from tokenledger_exporter.dialects.otel_genai import SHARED
from tokenledger_semconv import emitters

if TYPE_CHECKING:
    from tokenledger_exporter.dialects.dialect import RawFields

# The id at the start of a provider's answer, in the forms of OpenAI's and Anthropic's ids (read
# 2026-11-25). JSON that a model wrote may start the same way, so only such ids are accepted.
_ID_AT_START: Final = re.compile(r'\{"id": ?"((?:chatcmpl-|resp_|msg_|cmpl-)[A-Za-z0-9_-]{4,100})"')


def response_id(answer: str) -> str:
    """The provider's id at the start of a JSON answer; "" if there is none."""
    match = _ID_AT_START.match(answer)
    return match[1] if match else ""


def id_only(answer: str) -> str:
    """The part of an answer that is recorded: a JSON object with its id; "" if it has none."""
    answer_id = response_id(answer)
    return f'{{"id":"{answer_id}"}}' if answer_id else ""


def _read_id(raw: RawFields) -> None:
    answer = raw.values.pop("answer", "")
    if isinstance(answer, str) and (answer_id := response_id(answer)):
        raw.values.setdefault("response_id", answer_id)


OPENINFERENCE: Final = Dialect(
    name="OpenInference",
    scopes=("openinference.instrumentation.", "@arizeai/openinference-"),
    marker=emitters.OI_KIND,
    fields={
        **aliases(SHARED),
        **counts(
            input_tokens=emitters.OI_INPUT,
            output_tokens=emitters.OI_OUTPUT,
            total_tokens=emitters.OI_TOTAL,
            cached_tokens=emitters.OI_CACHE_READ,
            cache_write_tokens=emitters.OI_CACHE_WRITE,
            reasoning_tokens=emitters.OI_REASONING,
            audio_input_tokens=emitters.OI_AUDIO_INPUT,
            audio_output_tokens=emitters.OI_AUDIO_OUTPUT,
        ),
        **values(
            operation=emitters.OI_KIND,
            provider=(emitters.OI_PROVIDER, emitters.OI_SYSTEM),
            model=(emitters.OI_RESPONSE_MODEL, emitters.OI_MODEL, emitters.OI_EMBEDDING_MODEL),
            request_model=emitters.OI_REQUEST_MODEL,
            answer=emitters.OI_OUTPUT_VALUE,
        ),
        **aliases(columns(agent_id=emitters.OI_AGENT)),
        **metadata(tags=emitters.OI_TAGS),
        **usage(metadata=emitters.OI_METADATA),
    },
    operations={"LLM": "chat", "EMBEDDING": "embeddings"},
    operation="",
    adjust=_read_id,
)
