"""The short form of `make faults`: every case, with fewer calls."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from faults.registry import CASES, WHOLE_ONLY
from faults.running import run_case, server

if TYPE_CHECKING:
    from collections.abc import Generator

_CALLS = 200
_SEED = 20_261_125


@pytest.fixture(scope="module")
def rig_server() -> Generator[str]:
    with server() as url:
        yield url


@pytest.mark.integration
@pytest.mark.parametrize("name", [name for name in CASES if name not in WHOLE_ONLY])
def test_no_call_is_lost_and_none_is_stored_twice(name: str, rig_server: str) -> None:
    found = run_case(rig_server, name, calls=_CALLS, seed=_SEED, whole=False)
    if found.skipped:
        pytest.skip(found.skipped)
    assert found.is_good, found
    assert found.tally.made + found.tally.unfinished > 0
