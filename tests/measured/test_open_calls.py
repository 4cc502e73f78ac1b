"""The small form of `python -m benchmarks.open_calls`: what no busy machine changes."""

from __future__ import annotations

import pytest

from benchmarks.open_calls import KINDS, run

CALLS = 400
EXIT_SECONDS = 10.0


@pytest.mark.integration
@pytest.mark.parametrize("kind", KINDS)
def test_calls_that_are_all_open_at_once_have_their_rows_and_the_process_ends(
    kind: str, database_url: str
) -> None:
    found = run(kind, CALLS, database_url)
    assert found.rows == CALLS
    assert found.exit_seconds < EXIT_SECONDS
