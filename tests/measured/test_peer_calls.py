"""The table of other instrumentations, and how one is put on and off; downloads nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from openai import OpenAI
from openai.resources.chat.completions import Completions

from benchmarks.instrumentations import PEERS
from benchmarks.next_to_a_peer import ASYNC, CALLS, STREAMS, Figures
from benchmarks.peer_calls import table
from benchmarks.switching import Switch


def all_of(value: float) -> dict[str, float]:
    return dict.fromkeys((*CALLS, *STREAMS, ASYNC), value)


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


FLOOR, OURS = all_of(1_924), all_of(2_499)


def run(peer: dict[str, float]) -> Figures:
    return Figures(
        {"floor": FLOOR, "peer": peer, "ours": OURS},
        {"floor": all_of(50), "peer": all_of(170), "ours": all_of(75)},
    )


def test_the_page_has_the_table_that_is_printed() -> None:
    page = (Path(__file__).parents[2] / "docs" / "operations" / "overhead.md").read_text()
    shown = page[page.index("| added to |") :].partition("\n\n")[0].splitlines()
    printed = list(table({peer.title: run(OURS) for peer in PEERS}))
    assert shown[:2] == printed[:2]
    assert [cells(line)[0] for line in shown] == [cells(line)[0] for line in printed]


def test_a_row_reports_bytecodes_and_relative_times() -> None:
    *_, peer, ours = table({"one": run(all_of(8_113))})
    # 170 us / 50 us, and ours 75 us / 50 us.
    assert cells(peer) == ["one", *["8,113"] * 5, *["3.40 (1.50)"] * 4]
    assert cells(ours) == ["ours", *["2,499"] * 5, *["1.50"] * 4]


def test_a_call_a_tool_does_not_instrument_shows_none() -> None:
    *_, peer, _ours = table({"one": run({**all_of(8_113), "anthropic": 0, "anthropic chunk": 0})})
    assert cells(peer)[3] == "none"
    assert cells(peer)[5] == "none"
    assert cells(peer)[8] == "none"


def test_counts_that_differ_between_runs_are_shown_from_the_fewest_to_the_most() -> None:
    other = Figures(
        {"floor": FLOOR, "peer": OURS, "ours": all_of(2_510)},
        {"floor": all_of(50), "peer": all_of(100), "ours": all_of(95)},
    )
    ours = cells(list(table({"one": run(OURS), "other": other}))[-1])
    # 75 / 50 = 1.5 and 95 / 50 = 1.9: in the middle 1.7.
    assert ours == ["ours", *["2,499 to 2,510"] * 5, *["1.70"] * 4]


def test_a_tool_that_conflicts_with_ours_is_measured_alone() -> None:
    alone = Figures({"floor": FLOOR, "peer": OURS}, {"floor": all_of(50), "peer": all_of(100)})
    *_, peer, last = table({"one": run(OURS), "alone": alone})
    assert cells(peer)[6:] == ["2.00"] * 4
    assert cells(last)[0] == "ours"


def test_patches_are_removed_and_reapplied() -> None:
    before = vars(Completions)["create"]

    def patched() -> None:
        """Stand where the SDK's method stood."""

    def turn_on() -> None:
        # The second one is inherited.
        for owner, name in ((Completions, "create"), (OpenAI, "request")):
            setattr(owner, name, patched)

    def found() -> tuple[object, object]:
        return vars(Completions)["create"], vars(OpenAI).get("request")

    switch = Switch(turn_on)
    assert found() == (before, None)
    switch.on()
    assert found() == (patched, patched)
    switch.off()
    assert found() == (before, None)


def test_an_instrumentation_that_changes_nothing_is_reported() -> None:
    with pytest.raises(LookupError, match="changed nothing"):
        Switch(lambda: None)
