"""A good sender next to hostile ones, in short: nothing rejected, and the service's memory bounded.

How long its answers take is for `make hostile` on a quiet machine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from benchmarks.hostile import meet
from support.otlp_service import serving
from tokenledger_exporter.access.tokens import new_token, token_line

if TYPE_CHECKING:
    from pathlib import Path

MOST_MIB: Final = 256
SECONDS: Final = 2.0


@pytest.mark.parametrize(
    "attack", ["much metadata", "small events", "old ids", "pipelined refusals", "connections"]
)
def test_a_well_behaved_sender_is_never_rejected_during_an_attack(
    database_url: str, tmp_path: Path, attack: str
) -> None:
    good, hostile = new_token(), new_token()
    file = tmp_path / "tokens"
    file.write_text(f"{token_line('good', good)}\n{token_line('hostile', hostile)}")
    with serving(database_url, "--tokens-file", str(file), grpc=True) as service:
        met = meet(service, good, attack, hostile, SECONDS)
    assert met.refused == 0, met
    assert met.peak_mib <= MOST_MIB, met
