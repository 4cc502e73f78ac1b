"""The exporter's OTLP service and dashboard: `python -m tokenledger.server`.

TokenLedger 0.1.1 had its HTTP API here, on port 8765. This module and `queries` may import the
exporter; `import tokenledger` loads neither.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokenledger_exporter.cli.commands.serve import command

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]


def main(words: Sequence[str] | None = None) -> None:
    """Run `tokenledger serve --dashboard`; `--no-dashboard` leaves the dashboard out.

    Args:
        words: the arguments; by default those of this process.
    """
    command.main(
        args=None if words is None else list(words),
        prog_name="python -m tokenledger.server",
        default_map={"has_dashboard": True},
    )


if __name__ == "__main__":
    main()
