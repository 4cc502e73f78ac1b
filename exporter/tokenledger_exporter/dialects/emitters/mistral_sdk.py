"""The mistralai SDK's own spans (1.12.4): provider, model and counts, and no response id."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tokenledger_exporter.dialects.dialect import Dialect, counts, values
from tokenledger_exporter.dialects.otel_genai import SHARED
from tokenledger_semconv import emitters

if TYPE_CHECKING:
    from tokenledger_exporter.dialects.dialect import RawFields

_PREFIXES: Final = (
    *(("chat_", "chat"), ("stream_chat", "chat"), ("agents_", "chat")),
    *(("fim_", "text_completion"), ("stream_fim", "text_completion")),
    *(("embeddings_", "embeddings"), ("moderations_", "moderation")),
)


def _name_operation(raw: RawFields) -> None:
    name = str(raw.values.pop("api_operation", ""))
    operations = (operation for prefix, operation in _PREFIXES if name.startswith(prefix))
    raw.values.setdefault("operation", next(operations, "unknown" if name else "chat"))


MISTRAL_SDK: Final = Dialect(
    name="mistralai SDK",
    scopes=("mistralai_sdk_tracer",),
    fields={
        **SHARED,
        **counts(total_tokens=emitters.MISTRAL_TOTAL),
        **values(api_operation=emitters.MISTRAL_OPERATION),
    },
    adjust=_name_operation,
)
