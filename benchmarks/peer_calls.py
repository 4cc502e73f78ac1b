"""What other instrumentations add to a call: `python -m benchmarks.peer_calls [ROUNDS]`.

Each gets a throw-away environment with the SDKs and the OpenTelemetry that requirements.lock pins.
A process in it (`benchmarks.next_to_a_peer`) measures the bare SDK, a bare span, the peer and ours
in turns. It downloads them. A peer that cannot be installed or measured is left out, and the reason
is printed.
"""

from __future__ import annotations

import json
import platform
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks import children
from benchmarks.instrumentations import NO_CONTENT, PEERS
from benchmarks.next_to_a_peer import ASYNC, CALLS, STREAMS, Figures

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from benchmarks.instrumentations import Peer

_PROJECT: Final = children.ROOT
_UV: Final = Path(sys.executable).parent / "uv"
_SAME: Final = "openai|anthropic|httpx2|pydantic|pydantic-core|wrapt|opentelemetry-[a-z-]+"
_PINNED: Final = re.compile(rf"^((?:{_SAME})==.+?) \\$", re.MULTILINE)
_EVERYWHERE: Final = ("openai", "anthropic", "opentelemetry-sdk", "opentelemetry-instrumentation")
_LONGEST_SECONDS: Final = 900
_SHOWN: Final = re.compile("openai==|anthropic==|opentelemetry-sdk==")
_CALL_OF: Final = {"openai chunk": "chat", "anthropic chunk": "anthropic"}
_TIMED: Final = (*CALLS, ASYNC)


def main() -> None:
    """Measure every peer, then print one table of them all."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 30
    found: dict[str, Figures] = {}
    with tempfile.TemporaryDirectory(prefix="peer-calls-") as folder:
        pins = Path(folder) / "pins.txt"
        pins.write_text("\n".join(_pins()))
        for number, peer in enumerate(PEERS):
            print(f"measuring {peer.name}", file=sys.stderr, flush=True)
            try:
                figures = _measured(peer, Path(folder) / str(number), pins, rounds)
            except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
                print(f"{peer.name} is left out: {_reason(error)}", flush=True)
            else:
                found[peer.title] = figures
    if not found:
        sys.exit("no peer could be measured: is the package index within reach?")
    print(
        "CPU: a multiple of one bare span's, in brackets ours in the same run; content capture off"
    )
    print(
        "where there is a switch; the anthropic SDK's own spans off; calling thread, async: process"
    )
    print(f"CPython {platform.python_version()}, {', '.join(filter(_SHOWN.match, _pins()))}")
    print("\n".join(table(found)))


def table(found: Mapping[str, Figures]) -> Iterator[str]:
    """Lines of a Markdown table: the floor, a row a peer, ours last.

    Args:
        found: figures of one run a peer, by what its row is called.
    """
    runs = list(found.values())
    runs_with_ours = [run for run in runs if "ours" in run.bytecodes]
    counted = [f"bytecodes, {name}" for name in (*CALLS, *STREAMS)]
    yield _row("added to", [*counted, *(f"CPU, {name}" for name in _TIMED)])
    yield _row("---", ["---:"] * (len(counted) + len(_TIMED)))
    taken = (statistics.median(run.cpu_us["floor"][name] for run in runs) for name in _TIMED)
    yield _row("one bare span", [*_counts(runs, "floor"), *(f"1 ({us:.0f} us)" for us in taken)])
    for name, run in found.items():
        yield _row(
            name, [*_counts([run], "peer"), *(_relative_to_ours(run, name) for name in _TIMED)]
        )
    if runs_with_ours:
        times = (
            statistics.median(_ratio(run, "ours", name) for run in runs_with_ours)
            for name in _TIMED
        )
        yield _row("ours", [*_counts(runs_with_ours, "ours"), *(f"{ratio:.2f}" for ratio in times)])


def _counts(runs: Sequence[Figures], variant: str) -> Iterator[str]:
    """Bytecodes: the same in every run, and if not, from the fewest to the most."""
    for name in (*CALLS, *STREAMS):
        counts = sorted({round(run.bytecodes[variant][name]) for run in runs})
        shown = " to ".join(f"{count:,}" for count in dict.fromkeys((counts[0], counts[-1])))
        yield shown if _instrumented(runs[0], variant, name) else "none"


def _relative_to_ours(run: Figures, name: str) -> str:
    if not _instrumented(run, "peer", name):
        return "none"
    ours = f" ({_ratio(run, 'ours', name):.2f})" if "ours" in run.cpu_us else ""
    return f"{_ratio(run, 'peer', name):.2f}{ours}"


def _instrumented(run: Figures, variant: str, name: str) -> bool:
    return run.bytecodes[variant][_CALL_OF.get(name, name)] != 0


def _ratio(run: Figures, variant: str, name: str) -> float:
    return run.cpu_us[variant][name] / run.cpu_us["floor"][name]


def _row(name: str, cells: Sequence[str]) -> str:
    return f"| {' | '.join([name, *cells])} |"


def _measured(peer: Peer, folder: Path, pins: Path, rounds: int) -> Figures:
    python = folder / "bin" / "python"
    install = (_UV, "pip", "install", "--quiet", "--python", python)
    _output(_UV, "venv", "--quiet", "--python", sys.executable, folder)
    _output(*install, "--constraint", pins, *_EVERYWHERE, *peer.requirements)
    if peer.runs_with_ours:
        _output(*install, "--no-deps", "--editable", _PROJECT)
    program = (python, "-W", "ignore", "-m", "benchmarks.next_to_a_peer", peer.name, rounds)
    return Figures(**json.loads(_output(*program).splitlines()[-1]))


def _output(*words: object) -> str:
    # A proxy of the machine must not be asked about this machine's own address.
    environment = {**children.environment(), **NO_CONTENT, "NO_PROXY": "127.0.0.1"}
    return subprocess.run(
        [str(word) for word in words],
        check=True,
        capture_output=True,
        text=True,
        env=environment,
        timeout=_LONGEST_SECONDS,
    ).stdout


def _pins() -> list[str]:
    return _PINNED.findall((_PROJECT / "requirements.lock").read_text())


def _reason(error: subprocess.SubprocessError) -> str:
    """What the program said last, in one line; an installer says why in all its lines."""
    if not isinstance(error, subprocess.CalledProcessError):
        return f"it took longer than {_LONGEST_SECONDS} s"
    said = str(error.stderr).strip()
    return " ".join((said if "pip" in error.cmd else said.rpartition("\n")[2]).split())


if __name__ == "__main__":
    main()
