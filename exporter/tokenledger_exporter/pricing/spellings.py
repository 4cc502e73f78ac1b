"""Other spellings of a model name, which are tried if the name as written has no price."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_LATEST: Final = "-latest"
_COMPACT_DATE: Final = re.compile(r"-(20\d{2})(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])(?=-|:|$)")

# The maker of a model on Bedrock -> how the names of its models begin, for emitters that leave the
# maker out (OpenLLMetry). AWS, "Supported foundation models in Amazon Bedrock", read 2026-11-28.
_MAKERS: Final = (
    ("amazon", ("nova-", "titan-")),
    ("meta", ("llama2-", "llama3-", "llama4-")),
    (
        "mistral",
        (
            *("mistral-", "mixtral-", "ministral-", "pixtral-", "magistral-", "devstral-"),
            "voxtral-",
        ),
    ),
    ("deepseek", ("r1-", "v3-", "v3.")),
    ("openai", ("gpt-",)),
    ("qwen", ("qwen3-",)),
    ("google", ("gemma-",)),
    ("nvidia", ("nemotron-",)),
    ("writer", ("palmyra-",)),
    ("cohere", ("command-", "embed-", "rerank-")),
    ("ai21", ("jamba-",)),
)

# What may follow a model's name without making it another model: dates, versions, stages.
_VERSION: Final = re.compile(
    r"(?:[-:@./_](?:latest|preview|exp|experimental|beta|default|maas|v?[\d.:-]+[a-z]?)?)*"
)
_CUSTOM: Final = re.compile(r"(?:^|[:/])(?:custom-model|imported-model|provisioned-model)")
_FINE_TUNED: Final = ("ft:", ".ft-")


def is_guess(name: str, model: str, pattern: str) -> bool:
    """Whether a list prices a name only because it begins like the name of a model.

    Args:
        name: the name as the call has it.
        model: the list's id of the model.
        pattern: the list's pattern, which matches the name.
    """
    text, core = name.lower(), model.lower().rpartition("/")[2]
    before, is_part, after = text.partition(core)
    if not is_part or re.escape(text) in pattern or any(mark in text for mark in _FINE_TUNED):
        return False
    # A lower-case letter directly before it would make it a part of another word.
    return not _VERSION.fullmatch(after) or before[-1:].isalpha()


def is_customized(provider: str, name: str) -> bool:
    """Whether a name is that of a customized model, which has no list price.

    Bedrock's customized and imported models run on capacity of their own, and their ARNs contain
    the name of their base model (AWS, "Amazon Bedrock pricing", read 2026-11-28).

    Args:
        provider: price-book name of the provider.
        name: model name in lower case.
    """
    return provider == "aws" and _CUSTOM.search(name) is not None


def spellings(provider: str, name: str) -> Iterator[str]:
    """The name as written, and then the spellings that mean the same model at this provider.

    Args:
        provider: price-book name of the provider.
        name: model name in lower case.
    """
    yield name
    yield _COMPACT_DATE.sub(r"-\1-\2-\3", name)
    yield name.removesuffix(_LATEST)
    if provider == "google" and "/" in name:
        # `models/gemini-2.5-flash`, `google/gemini-2.5-flash`, `publishers/google/models/...`.
        yield name.rpartition("/")[2]
    if provider == "aws":
        yield from (f"{maker}.{name}" for maker, starts in _MAKERS if name.startswith(starts))
