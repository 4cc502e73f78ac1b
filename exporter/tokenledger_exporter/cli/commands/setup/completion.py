"""`tokenledger completion`: the script that completes commands and options in a shell."""

from __future__ import annotations

from typing import Final

import click

_PROGRAM: Final = "tokenledger"
_VARIABLE: Final = "_TOKENLEDGER_COMPLETE"

_INSTALL: Final = {
    "bash": "tokenledger completion bash > ~/.local/share/bash-completion/completions/tokenledger",
    "zsh": 'tokenledger completion zsh > "${fpath[1]}/_tokenledger"',
    "fish": "tokenledger completion fish > ~/.config/fish/completions/tokenledger.fish",
}
_NOW: Final = {
    "bash": 'eval "$(tokenledger completion bash)"',
    "zsh": 'eval "$(tokenledger completion zsh)"',
    "fish": "tokenledger completion fish | source",
}


@click.command("completion", epilog='Example: eval "$(tokenledger completion bash)"')
@click.argument("shell", type=click.Choice(sorted(_INSTALL)))
def command(*, shell: str) -> None:
    """Print the script that completes commands and options in SHELL, with how to install it."""
    from click.shell_completion import get_completion_class

    complete = get_completion_class(shell)
    if complete is None:
        raise click.UsageError(f"this release of click has no completion for {shell}")
    source = complete(click.get_current_context().find_root().command, {}, _PROGRAM, _VARIABLE)
    hint = f"# Install: {_INSTALL[shell]}\n# In this shell only: {_NOW[shell]}\n"
    # zsh reads the first line of a file in its fpath.
    first, newline, rest = (source.source_template % source.source_vars()).partition("\n")
    if first.startswith("#compdef"):
        click.echo(f"{first}{newline}{hint}{rest}", nl=False)
    else:
        click.echo(f"{hint}{first}{newline}{rest}", nl=False)
