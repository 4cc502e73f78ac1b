"""The reference pages are complete: the generated parts, and the tables written manually."""

from __future__ import annotations

import json
import re
from dataclasses import fields

import click
import psycopg
import pytest

import tokenledger
from docs.conftest import ROOT
from scripts import draw_rooms
from scripts.reference.commands import command_reference, serve_options
from scripts.reference.constants import call_metrics, ledger_metrics, span_attributes
from scripts.reference.python_api import python_api
from scripts.reference.schema import described
from scripts.reference.settings import settings_table
from tokenledger_exporter.cli import main
from tokenledger_semconv.dimensions import DIMENSIONS, RESOURCE_ATTRIBUTES
from tokenledger_semconv.settings import Settings

DOCS = ROOT / "docs"


def page(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def test_every_page_is_in_the_navigation() -> None:
    """The builder finds dead links, but not a page that nothing leads to."""
    listed = set(re.findall(r'"([\w/-]+\.md)"', (ROOT / "zensical.toml").read_text("utf-8")))
    assert listed == {str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md")}


def test_every_option_is_in_the_table_with_its_meaning() -> None:
    rows = [line.split(" | ") for line in settings_table().splitlines()[2:]]
    assert len(rows) == len(fields(Settings))
    assert all(len(row[2]) > len("a word") for row in rows)


def test_every_resource_attribute_is_in_the_table_in_order_of_precedence() -> None:
    text = page("reference/span-attributes.md")
    rows = re.findall(r"^\| (.+?) \| (`.+`) \|$", text, re.MULTILINE)
    listed = {subject: re.findall(r"`([\w.]+)`", names) for subject, names in rows}
    names = {d.attribute: d.name.replace("_", " ") for d in DIMENSIONS if d.keys}
    expected: dict[str, list[str]] = {}
    for attribute, filled in RESOURCE_ATTRIBUTES.items():
        expected.setdefault(names.get(filled, "`metadata.department`"), []).append(attribute)
    assert {subject: listed.get(subject) for subject in expected} == expected


def test_every_command_and_option_is_in_the_reference() -> None:
    reference = command_reference()

    def check(command: click.Command, path: str) -> None:
        assert f" {path}\n" in reference
        for option in command.params:
            if isinstance(option, click.Option):
                assert f"`{option.opts[0]}`" in reference
        if isinstance(command, click.Group):
            for name, inner in command.commands.items():
                check(inner, f"{path} {name}")

    for name, command in main.commands.items():
        check(command, f"tokenledger {name}")
    assert "`--grpc-port`" in serve_options()


def test_every_public_name_is_in_the_python_reference() -> None:
    reference = python_api()
    for name in tokenledger.__all__:
        assert f"### `{name}` " in reference
    assert "#### `get_costs_by` " in reference
    assert "status: str | None = 'success'" in reference
    assert "`None`" in reference


@pytest.mark.integration
def test_every_table_and_column_is_in_the_sql_reference_with_its_comment(
    database_url: str,
) -> None:
    reference = described(database_url)
    with psycopg.connect(database_url) as connection:
        names = connection.execute(
            "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p', 'v') AND NOT relispartition "
            "AND relname LIKE 'token\\_ledger%' AND relname <> 'token_ledger_migrations'"
        ).fetchall()
    assert len(names) > 20
    for (name,) in names:
        section = reference.partition(f"### {name}\n")[2].partition("\n###")[0]
        assert section.partition("|")[0].strip(), f"{name} has no COMMENT"
        rows = [line for line in section.splitlines() if line.startswith("| `")]
        assert rows, name
        assert not [row for row in rows if row.endswith("|  |")], f"a column of {name} has none"


def test_attributes_dimensions_and_metrics_are_listed() -> None:
    listed = span_attributes()
    assert "`gen_ai.usage.input_tokens`" in listed
    for dimension in DIMENSIONS:
        assert f"| `{dimension.name}` |" in listed
    assert ledger_metrics().count("\n| `tokenledger.") == 7
    assert call_metrics().count("| default |") == 4
    assert call_metrics().count("| newest |") == 12


@pytest.mark.parametrize("package", draw_rooms.packages(), ids=lambda package: package.name)
def test_the_picture_of_the_rooms_is_fresh(package: draw_rooms.Package) -> None:
    """If it is not: `python -m scripts.draw_rooms`."""
    assert package.picture.read_text(encoding="utf-8") == draw_rooms.drawing(package)


@pytest.mark.parametrize("package", draw_rooms.packages(), ids=lambda package: package.name)
def test_every_import_of_the_picture_points_down(package: draw_rooms.Package) -> None:
    levels = {
        room: level for level, rooms in enumerate(draw_rooms.floors(package)) for room in rooms
    }
    arrows = {
        room: targets for room, targets in draw_rooms.imports(package).items() if room in levels
    }
    assert len(arrows) > 10
    for room, targets in arrows.items():
        for target in targets & levels.keys():
            assert levels[room] < levels[target], f"{room} imports {target}"


def test_every_dimension_is_named_where_reports_are_explained() -> None:
    words = set(re.findall(r"`([\w.<>]+)`", page("guides/queries.md")))
    assert {each.name for each in DIMENSIONS} <= words


def test_every_key_of_health_is_explained(database_url: str) -> None:
    tokenledger.configure(database_url=database_url)
    try:
        keys = set(json.loads(json.dumps(tokenledger.health()["ledger"])))
    finally:
        tokenledger.shutdown()
    table = page("reference/metrics.md").partition("| key | meaning |")[2].partition("\n\n")[0]
    first_cells = "\n".join(line.split("|")[1] for line in table.splitlines() if line)
    assert set(re.findall(r"`(\w+)`", first_cells)) == keys


def test_every_command_and_flag_a_page_names_exists() -> None:
    pages = [ROOT / "README.md", *DOCS.rglob("*.md"), *(ROOT / "examples").rglob("*.md")]
    named = {
        " ".join(code.split())
        for path in pages
        for code in re.findall(r"`(tokenledger [^`]+)`", path.read_text(encoding="utf-8"))
    }
    assert len(named) > 15
    for line in named:
        command: click.Command = main
        flags: list[str] = []
        for word in line.split()[1:]:
            # `retention set|run|show` names several commands.
            if isinstance(command, click.Group):
                command = command.commands.get(word.split("|")[0], command)
            flags += [word.partition("=")[0]] if word.startswith("--") else []
        known = {
            name for option in command.params for name in (*option.opts, *option.secondary_opts)
        }
        assert command is not main or not flags, line
        assert set(flags) <= known, f"{line}: {set(flags) - known}"
