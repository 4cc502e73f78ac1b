"""Every file that CONTRIBUTING.md sends a contributor to exists."""

from __future__ import annotations

import re
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]
_FOLDERS = {
    "X/": "exporter/tokenledger_exporter/",
    "I/": "instrumentation/tokenledger/",
    "S/": "semconv/tokenledger_semconv/",
    "tests/": "tests/",
}


def test_every_place_of_a_change_exists() -> None:
    page = (_ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    section = page.partition("## Where a change goes")[2].partition("\n## ")[0]
    places = re.findall(r"`((?:X|I|S|tests)/[^`]+)`", section)
    assert len(places) > 20
    paths = [_FOLDERS[place[: place.index("/") + 1]] + place.partition("/")[2] for place in places]
    assert [path for path in paths if not (_ROOT / path).exists()] == []
