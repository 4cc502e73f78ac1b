"""OpenInference (openai 0.1.66, anthropic 3.1.0 and others): names of its own, input inclusive."""

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
    from tokenledger_exporter.dialects.dialect import Draft

# The beginning of a provider's answer that tells its id, in the forms OpenAI and Anthropic give
# ids (read 2026-11-25). An answer that a model wrote as JSON may begin alike, so nothing but such
# an id is ever taken.
_ID_AT_THE_BEGINNING: Final = re.compile(
    r'\{"id": ?"((?:chatcmpl-|resp_|msg_|cmpl-)[A-Za-z0-9_-]{4,100})"'
)


def response_id(answer: str) -> str:
    """The provider's id that an answer in JSON begins with; "" if it begins otherwise."""
    found = _ID_AT_THE_BEGINNING.match(answer)
    return found[1] if found else ""


def id_alone(answer: str) -> str:
    """What is kept of an answer: an object of its id, or nothing."""
    found = response_id(answer)
    return f'{{"id":"{found}"}}' if found else ""


def _read_id(draft: Draft) -> None:
    answer = draft.values.pop("answer", "")
    if isinstance(answer, str) and (found := response_id(answer)):
        draft.values.setdefault("response_id", found)


OPENINFERENCE: Final = Dialect(
    name="OpenInference",
    scopes=("openinference.instrumentation.", "@arizeai/openinference-"),
    mark=emitters.OI_KIND,
    slots={
        **aliases(SHARED),
        **counts(
            input_tokens=emitters.OI_INPUT,
            output_tokens=emitters.OI_OUTPUT,
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
    mend=_read_id,
)
