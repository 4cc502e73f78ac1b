"""The command-line reference, from the commands themselves."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import click

from scripts.reference.markdown import cell, code, escaped, table
from tokenledger_exporter.cli import main
from tokenledger_exporter.cli.commands.serve import command as serve_command

if TYPE_CHECKING:
    from collections.abc import Iterator

_DEFAULT: Final = re.compile(r"\[(?:[^\[\]]*; )?default: ([^;\[\]]*)[^\[\]]*\]$")


def command_reference() -> str:
    """Every command with its help and its options."""
    context = click.Context(main, info_name="tokenledger", show_default=True)
    return "\n".join(_command(main, context, level=2))


def serve_options() -> str:
    """The options of `tokenledger serve`."""
    return _options(serve_command, click.Context(serve_command, show_default=True))


def _command(command: click.Command, context: click.Context, level: int) -> Iterator[str]:
    if level > 2:  # noqa: PLR2004 - the page's own heading and the group stand above
        usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
        yield f"{'#' * (level - 1)} {context.command_path}\n"
        yield f"{code(usage)}\n"
        yield f"{escaped(_paragraphs(command.help or ''))}\n"
        if command.epilog and not isinstance(command, click.Group):
            yield f"Example: {code(command.epilog.removeprefix('Example: '))}\n"
        if options := _options(command, context):
            yield options
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            if child is not None and not child.hidden:
                inner = click.Context(child, parent=context, info_name=name)
                yield from _command(child, inner, level + 1)


def _paragraphs(text: str) -> str:
    return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))


def _options(command: click.Command, context: click.Context) -> str:
    rows: list[tuple[str, str, str]] = []
    for option in command.params:
        if not isinstance(option, click.Option) or option.hidden:
            continue
        names = ", ".join(code(name) for name in (*option.opts, *option.secondary_opts))
        kind = "" if option.is_flag else " " + code(option.make_metavar(context))
        rows.append((names + kind, code(_default(option, context)), cell(option.help or "")))
    return table(("option", "default", "meaning"), rows) if rows else ""


def _default(option: click.Option, context: click.Context) -> str:
    """The default that click adds to the help in brackets; one in words is in the help itself."""
    record = option.get_help_record(context)
    match = _DEFAULT.search(record[1]) if record else None
    text = match[1] if match else ""
    return "" if text in {'""', "False"} else text
