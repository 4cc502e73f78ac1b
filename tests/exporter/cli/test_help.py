"""Help, completion and suggestions, and that they start quickly."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import click
import pytest

from support.command_line import run
from tokenledger_exporter.cli.main import main

if TYPE_CHECKING:
    from collections.abc import Iterator

START = """
import sys
from tokenledger_exporter.cli import start
sys.argv = ["tokenledger"]
start()
"""
HEAVY = ("opentelemetry.sdk", "psycopg", "rich", "genai_prices")


def commands(group: click.Group, path: str) -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        yield f"{path} {name}", command
        if isinstance(command, click.Group):
            yield from commands(command, f"{path} {name}")


ALL = dict(commands(main, "tokenledger"))


def parse(command: click.Command, words: list[str]) -> None:
    """Parse a command line, without the name of its command, and do not run it."""
    if not isinstance(command, click.Group):
        command.make_context("", words)
        return
    inner = command.commands[words[0]]
    parse(inner, words[1:])


@pytest.mark.parametrize("path", ALL)
def test_the_help_of_every_command_has_an_example_that_is_valid(path: str) -> None:
    epilog = ALL[path].epilog or ""
    assert epilog.startswith("Example: ")
    example = epilog.removeprefix("Example: ")
    if example.startswith("eval"):
        example = example.removeprefix('eval "$(').removesuffix(')"')
    assert example.startswith(path), epilog
    words = shlex.split(example.partition(" >")[0])
    if isinstance(ALL[path], click.Group):
        assert len(words) > len(path.split())
    # The files of examples do not exist.
    parse(main, ["-" if word.endswith((".csv", ".json")) else word for word in words[1:]])


@pytest.mark.parametrize(
    ("words", "suggestion"),
    [
        (("reprot",), "'report'"),
        (("db", "migrat"), "'migrate'"),
        (("prices", "lst"), "'list'"),
        (("report", "--sinc", "7d"), "'--since'"),
    ],
)
def test_a_typo_is_answered_with_what_was_meant(words: tuple[str, ...], suggestion: str) -> None:
    result = run(*words)
    assert result.exit_code == 2
    assert "Did you mean" in result.stderr
    assert suggestion in result.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_of_a_shell_says_how_to_install_it(shell: str) -> None:
    script = run("completion", shell).stdout
    assert f"# Install: tokenledger completion {shell} > " in script
    assert "_TOKENLEDGER_COMPLETE" in script
    assert script.startswith("#compdef tokenledger\n" if shell == "zsh" else "# Install: ")
    if program := shutil.which(shell):
        subprocess.run([program, "-n"], input=script, text=True, check=True)


def test_the_completion_completes_commands_and_options() -> None:
    completed = {
        words: subprocess.run(
            [sys.executable, "-c", START],
            env={
                **os.environ,
                "_TOKENLEDGER_COMPLETE": "bash_complete",
                "COMP_WORDS": words,
                "COMP_CWORD": str(len(words.split()) - 1),
            },
            capture_output=True,
            text=True,
            check=False,
        ).stdout
        for words in ("tokenledger rep", "tokenledger tail --fol")
    }
    assert completed["tokenledger rep"].split() == ["plain,report", "plain,reprice"]
    assert completed["tokenledger tail --fol"].split() == ["plain,--follow"]


def test_help_and_completion_load_nothing_heavy() -> None:
    code = (
        "import sys; from tokenledger_exporter.cli.main import main; "
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
