"""How long the names a span tells may be: what is longer is cut where a call's facts are made.

The roll-ups have provider and model in their keys, beside a dimension's value of at most 255
letters. A key of Postgres' B-tree takes 2,704 bytes, and a letter up to four.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from tokenledger_exporter.dialects.dialect import TEXTS
from tokenledger_semconv import dimensions

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_WORD_LETTERS: Final = 64
"""Letters of a provider, an operation, a tier or a region: words of a short list."""

MAX_STORED_NAME_LENGTH: Final = dimensions.MAX_VALUE_LENGTH
"""Letters of a model, a scope, an error type or a response id."""

_NAMES: Final = frozenset({"model", "request_model", "error_type"})
_ID: Final = "response_id"
_USAGE: Final = "usage"
_DIGEST_BYTES: Final = 16


def bounded(texts: Sequence[str]) -> list[str]:
    """Facts of a call, in the order of `TEXTS`, none longer than the ledger takes."""
    return [_cut(name, text) for name, text in zip(TEXTS, texts, strict=True)]


def _cut(name: str, text: str) -> str:
    if name == _USAGE:
        return text
    if name == _ID:
        return bounded_id(text)
    return text[: MAX_STORED_NAME_LENGTH if name in _NAMES else MAX_WORD_LETTERS]


def bounded_id(response_id: str) -> str:
    """A response id; of a longer one its beginning and a digest, so that two stay two."""
    if len(response_id) <= MAX_STORED_NAME_LENGTH:
        return response_id
    encoded = response_id.encode(errors="surrogatepass")
    digest = hashlib.blake2b(encoded, digest_size=_DIGEST_BYTES).hexdigest()
    return response_id[: MAX_STORED_NAME_LENGTH - len(digest)] + digest
