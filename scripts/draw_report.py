"""Draw docs/assets/report.svg: the report that `tokenledger demo` prints, in a terminal."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.text import Text

PICTURE: Final = Path(__file__).parents[1] / "docs" / "assets" / "report.svg"
_COMMAND: Final = "tokenledger report --by feature --since today"


def feature_report(demo: str) -> list[str]:
    """The lines of the report by feature, and those below the reports, from the demo's output."""
    lines = demo.splitlines()
    start = lines.index("Cost by feature") + 1
    end = lines.index("", start)
    last = next(n for n, line in enumerate(lines) if line.startswith("coverage: "))
    first = max(n for n, line in enumerate(lines[:last]) if not line) + 1
    return [*lines[start:end], *lines[first : last + 1]]


def picture(lines: list[str]) -> str:
    """An SVG of a terminal that shows the lines; it loads nothing from another host."""
    width = max(len(line) for line in lines)
    console = Console(record=True, width=width, file=io.StringIO(), force_terminal=True)
    console.print(Text.assemble(("$ ", "bold green"), (_COMMAND, "bold")))
    for line in lines:
        console.print(Text(line, style="cyan" if line.startswith("coverage") else ""))
    svg = console.export_svg(title="tokenledger", unique_id="report")
    svg = re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL)
    return "\n".join(line.rstrip() for line in svg.splitlines() if line.strip()) + "\n"


def main() -> None:
    """Run the demo and draw its report."""
    command = [str(Path(sys.executable).with_name("tokenledger")), "demo"]
    environment = {**os.environ, "COLUMNS": "80"}
    ended = subprocess.run(  # noqa: S603 - our own command
        command, env=environment, capture_output=True, text=True, check=True
    )
    demo = ended.stdout
    PICTURE.write_text(picture(feature_report(demo)), encoding="utf-8")


if __name__ == "__main__":
    main()
