"""What these tests share: the loopback provider, and a process that is as it was afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import tokenledger
from tokenledger import _guard
from tokenledger_exporter.demo.provider import DemoProvider

if TYPE_CHECKING:
    from collections.abc import Generator


@pytest.fixture
def provider() -> Generator[DemoProvider]:
    """The fake of both vendors' APIs."""
    with DemoProvider() as running:
        yield running


@pytest.fixture
def sdks(provider: DemoProvider, monkeypatch: pytest.MonkeyPatch) -> DemoProvider:
    """Clients made without arguments reach the provider, here and in programs started here."""
    monkeypatch.setenv("OPENAI_BASE_URL", provider.openai_base_url)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-canary-key")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", provider.anthropic_base_url)
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-canary-key")
    return provider


@pytest.fixture
def unpatched() -> Generator[None]:
    """Whatever the test set up in this process is taken down, and no failure of ours unnoticed."""
    _guard.reset()
    yield
    tokenledger.unpatch_openai()
    tokenledger.unpatch_anthropic()
    tokenledger.shutdown()
    assert _guard.counts() == {}
