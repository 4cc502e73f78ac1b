"""For the SDKs' own suites: both SDKs are patched, with a ledger whose database is not there.

What is recorded goes to a spool in a temporary folder.
"""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING

import tokenledger

if TYPE_CHECKING:
    import pytest

_NOWHERE = "postgresql://nobody@127.0.0.1:1/nowhere?connect_timeout=1"


def pytest_configure(config: pytest.Config) -> None:
    """Patch before the suite imports anything of its own."""
    spool = tempfile.TemporaryDirectory(prefix="tokenledger-spool-")
    config.add_cleanup(spool.cleanup)
    tokenledger.configure(database_url=_NOWHERE, spool_dir=spool.name)
    tokenledger.patch_openai()
    tokenledger.patch_anthropic()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what the ledger saw, so that a run without our wrappers is not taken for a good one."""
    health = tokenledger.health()
    terminalreporter.write_line(f"tokenledger: {health}")


def pytest_unconfigure() -> None:
    """Leave before the spool's folder does."""
    tokenledger.shutdown(timeout=0)
