"""What holds without flock and pread, where an open file can be neither deleted nor renamed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from support.ledger_rows import ask

if TYPE_CHECKING:
    from collections.abc import Generator

_TESTS: Final = Path(__file__).parents[2]

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs Linux' /proc"),
]

# Makes calls, says so, and lives until its input ends; "leave" lets it flush and end.
_APP: Final = """
import sys
import tokenledger
tokenledger.configure()
for number in range(int(sys.argv[1])):
    tokenledger.track("openai", "gpt-4o", 1_000, 100, user_id=f"{sys.argv[2]}-{number}")
print("made", flush=True)
if sys.stdin.readline() == "leave\\n":
    rows = tokenledger.flush(timeout=30)
    tokenledger.shutdown()
    print(rows, flush=True)
"""


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@contextmanager
def _app(database_url: str, spool: Path, calls: int, name: str) -> Generator[subprocess.Popen[str]]:
    program = spool.parent / "app.py"
    program.write_text(_APP)
    environment = {
        **os.environ,
        "TOKENLEDGER_DATABASE_URL": database_url,
        "TOKENLEDGER_SPOOL_DIR": str(spool),
        # Nothing is written before it is requested.
        "TOKENLEDGER_FLUSH_INTERVAL": "3600",
        "PYTHONPATH": str(_TESTS),
    }
    words = [sys.executable, "-m", "support.as_windows", str(program), str(calls), name]
    with subprocess.Popen(
        words, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "made\n"
            yield process
        finally:
            process.kill()


def _leave(process: subprocess.Popen[str]) -> int:
    told, _ = process.communicate("leave\n", timeout=60)
    assert process.returncode == 0
    return int(json.loads(told))


def _users(database_url: str) -> list[tuple[str, int]]:
    question = (
        "SELECT split_part(user_id, '-', 1), count(*) FROM token_ledger_events"
        " WHERE cost_status = 'priced' GROUP BY 1 ORDER BY 1"
    )
    return ask(database_url, question)


def _segments(spool: Path) -> list[Path]:
    return list(spool.rglob("*.seg"))


def test_calls_are_rows_and_the_spool_is_empty_at_the_end(database_url: str, spool: Path) -> None:
    with _app(database_url, spool, 300, "own") as app:
        assert _segments(spool)
        assert _leave(app) == 300
    assert _users(database_url) == [("own", 300)]
    assert not _segments(spool)


def test_what_a_killed_process_left_is_taken_over_once(database_url: str, spool: Path) -> None:
    with _app(database_url, spool, 200, "killed") as killed:
        killed.kill()
    with _app(database_url, spool, 1, "next") as app:
        assert _leave(app) == 201
    assert _users(database_url) == [("killed", 200), ("next", 1)]
    assert not _segments(spool)


def test_a_living_process_keeps_what_is_its_own(database_url: str, spool: Path) -> None:
    with _app(database_url, spool, 50, "living") as living:
        with _app(database_url, spool, 1, "other") as other:
            assert _leave(other) == 1
        assert _users(database_url) == [("other", 1)]
        assert _leave(living) == 50
    assert _users(database_url) == [("living", 50), ("other", 1)]
