"""The sync query client is what the generator makes of the async one."""

from __future__ import annotations

from scripts.generate_sync_client import TARGET, generated


def test_the_sync_client_is_generated_from_the_async_one() -> None:
    """Run `make generate` after a change to async_client.py."""
    assert TARGET.read_text(encoding="utf-8") == generated()
