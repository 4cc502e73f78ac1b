"""Limits the length of a call's text fields; longer text is cut.

The roll-ups have provider and model in their keys, in addition to a dimension's value of at most
255 characters. A key of a Postgres B-tree holds 2,704 bytes, and a character takes up to four.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from tokenledger_exporter.dialects.dialect import TEXTS
from tokenledger_semconv import dimensions

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_WORD_LETTERS: Final = 64
"""Maximum length of a provider, operation, tier or region, in characters."""

MAX_STORED_NAME_LENGTH: Final = dimensions.MAX_VALUE_LENGTH
"""Maximum length of a model, scope, error type or response id, in characters."""

_NAMES: Final = frozenset({"model", "request_model", "error_type"})
_ID: Final = "response_id"
_USAGE: Final = "usage"
_DIGEST_BYTES: Final = 16


def bounded(texts: Sequence[str]) -> list[str]:
    """Text fields of a call, in the order of `TEXTS`, cut to what the ledger stores."""
    return [_cut(name, text) for name, text in zip(TEXTS, texts, strict=True)]


def _cut(name: str, text: str) -> str:
    if name == _USAGE:
        return text
    if name == _ID:
        return bounded_id(text)
    return text[: MAX_STORED_NAME_LENGTH if name in _NAMES else MAX_WORD_LETTERS]


def bounded_id(response_id: str) -> str:
    """A response id; a long one is shortened to a prefix and a digest, which keeps it unique."""
    if len(response_id) <= MAX_STORED_NAME_LENGTH:
        return response_id
    encoded = response_id.encode(errors="surrogatepass")
    digest = hashlib.blake2b(encoded, digest_size=_DIGEST_BYTES).hexdigest()
    return response_id[: MAX_STORED_NAME_LENGTH - len(digest)] + digest
