"""Names that mean a model of the list although they are written differently."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest

from support.ledger_rows import package_book

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
