"""Scripts and styles: a browser keeps them until they change, and those of others are unchanged."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.page_reader import read
from tokenledger_exporter import web
from tokenledger_exporter.web.static_files import address_of

if TYPE_CHECKING:
    from support.dashboard import Dashboard

VENDOR = Path(web.__file__).parent / "static" / "vendor"


def test_a_page_names_the_version_of_each_file(dashboard: Dashboard) -> None:
    tags = read(dashboard, "/").tags
    addresses = [
        value
        for _, attributes in tags
        for name in ("src", "href")
        if (value := attributes.get(name) or "").startswith("/static/")
    ]
    assert len(addresses) >= 6
    for address in addresses:
        assert re.fullmatch(r"/static/[\w./]+\?v=[0-9a-f]{12}", address)
        response = dashboard.get(address)
        assert response.status == 200
        assert response.headers["cache-control"] == "public, max-age=31536000, immutable"


@pytest.mark.parametrize("query", ["", "?v=000000000000", "?v=", "?other=1"])
def test_a_file_without_its_version_is_not_kept(dashboard: Dashboard, query: str) -> None:
    response = dashboard.get(f"/static/style.css{query}")
    assert response.status == 200
    assert "immutable" not in response.headers.get("cache-control", "")


def test_another_content_has_another_address() -> None:
    assert address_of("style.css") != address_of("keys.js")
    digest = hashlib.blake2b((VENDOR.parent / "keys.js").read_bytes(), digest_size=6).hexdigest()
    assert address_of("keys.js") == f"/static/keys.js?v={digest}"


def test_files_of_other_projects_are_those_of_the_list() -> None:
    rows = re.findall(r"\| ([\w.]+) \|.*\| ([0-9a-f]{64}) \|", (VENDOR / "README.md").read_text())
    names = {path.name for path in VENDOR.iterdir() if path.suffix in {".js", ".css"}}
    assert {name for name, _ in rows} == names
    for name, digest in rows:
        assert hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() == digest
        assert (VENDOR / f"{name.partition('.')[0]}.LICENSE").read_text()
