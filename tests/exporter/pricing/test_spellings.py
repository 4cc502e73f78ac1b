"""Names that mean a model of the list although they are written differently."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest

from support.ledger_rows import package_book
from tokenledger_exporter.pricing.spellings import is_guess
from tokenledger_semconv.tokens import TokenVector

NOON = datetime(2026, 11, 27, 12, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("provider", "name", "model"),
    [
        ("aws", "nova-micro-v1:0", "amazon.nova-micro-v1:0"),
        ("aws", "llama3-1-8b-instruct-v1:0", "meta.llama3-1-8b-instruct-v1:0"),
        ("aws", "mistral-large-2402-v1:0", "mistral.mistral-large-2402-v1:0"),
        ("aws", "gpt-oss-120b-1:0", "openai.gpt-oss-120b-1:0"),
        ("aws", "r1-v1:0", "deepseek.r1-v1:0"),
        ("aws", "qwen3-32b-v1:0", "qwen.qwen3-32b-v1:0"),
        ("google", "models/gemini-2.5-flash", "gemini-2.5-flash"),
        ("google", "google/gemini-2.5-flash", "gemini-2.5-flash"),
        ("google", "publishers/google/models/gemini-2.5-flash", "gemini-2.5-flash"),
    ],
)
def test_a_name_is_priced_as_the_model_it_means(provider: str, name: str, model: str) -> None:
    sheet = package_book().sheet(provider, name, NOON)
    assert sheet
    assert sheet == package_book().sheet(provider, model, NOON)


@pytest.mark.parametrize(
    ("provider", "name"),
    [("aws", "titan-unknown"), ("openai", "models/gpt-4o"), ("google", "models/unknown")],
)
def test_no_other_name_is_guessed(provider: str, name: str) -> None:
    assert package_book().sheet(provider, name, NOON) == ()


@pytest.mark.parametrize(
    ("name", "model", "pattern", "expected"),
    [
        ("gemini-3.8-flash-cyber", "gemini-3.8-flash", "^gemini-3", True),
        ("gemini-3.8-flash-lite", "gemini-3.8-flash", "^gemini-3", True),
        ("my-o4-mini-prod", "o4-mini", "o4\\-mini", True),
        ("gemini-3.8-flash", "gemini-3.8-flash", "^gemini-3", False),
        ("Gemini-3.8-Flash-Preview-09-2026", "gemini-3.8-flash", "^gemini-3", False),
        ("gemini-3.8-flash-latest", "gemini-3.8-flash", "^gemini-3", False),
        ("gemini-3.8-flash-001", "gemini-3.8-flash", "^gemini-3", False),
        ("claude-sonnet-4-5@20250929", "claude-sonnet-4-5", "^claude", False),
        ("us.amazon.nova-pro-v1:0", "amazon.nova-pro", "nova", False),
        ("gpt-5-codex", "gpt-5", "(?:^gpt\\-5$|^gpt\\-5\\-codex$)", False),
        ("ft:gpt-4o-2024-08-06:acme:tuned:id", "ft:gpt-4o", "^ft:gpt", False),
        ("mistral-large-2411", "mistral-medium", "^mistral", False),
    ],
)
def test_a_name_is_a_guess_if_only_its_beginning_is_on_the_list(
    name: str, model: str, pattern: str, expected: bool
) -> None:
    assert is_guess(name, model, pattern) is expected


def test_a_guess_is_never_priced_as_exact() -> None:
    used = TokenVector(input_tokens=1_000)
    guessed = package_book().cost("google", "gemini-3.8-flash-cyber", NOON, "", used)
    assert guessed is not None
    assert guessed.unknown_usage == "the price list has the price of gemini-3.8-flash only"
