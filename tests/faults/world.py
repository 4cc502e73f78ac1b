"""What a case has: a ledger of its own, a proxy before it, a spool, and processes to break."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psycopg

from faults.counts import read_counts
from tokenledger_exporter.recorder.ledger import PostgresLedger
from tokenledger_semconv.settings import read_settings

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Mapping
    from contextlib import ExitStack

    from faults.proxy import Proxy

_TESTS: Final = Path(__file__).resolve().parents[1]
_RECOVERY_SECONDS: Final = 60.0
_CHILD_SECONDS: Final = 120.0


@dataclass(frozen=True, slots=True)
class Tally:
    """What became of the calls of a case.

    Args:
        made: calls that ended in their process.
        unfinished: calls that were sent and never ended there.
        lost: calls without their row: priced if they ended, any if not.
        twice: rows beyond one a call, conflicts and rejected rows included.
    """

    made: int
    unfinished: int
    lost: int
    twice: int


@dataclass
class World:
    """One case's surroundings.

    Args:
        url: the ledger itself.
        proxy: what stands before it.
        folder: the case's own.
        calls: how many calls its processes make together.
        dice: what the case draws from.
        whole: whether this is the long form.
        outliving: what a case starts and needs until its calls are counted.
    """

    url: str
    proxy: Proxy
    folder: Path
    calls: int
    dice: random.Random
    whole: bool
    outliving: ExitStack
    notes: list[str] = field(default_factory=list[str])
    _children: list[subprocess.Popen[str]] = field(default_factory=list["subprocess.Popen[str]"])

    def __post_init__(self) -> None:
        self.counts.mkdir(parents=True)

    @property
    def counts(self) -> Path:
        """Where processes count."""
        return self.folder / "counts"

    @property
    def spool(self) -> Path:
        """Where processes spool."""
        return self.folder / "spool"

    def environment(self, *, direct: bool = False) -> dict[str, str]:
        """The environment of a process; `direct` goes around the proxy."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith("OTEL_")}
        return {
            **kept,
            "TOKENLEDGER_DATABASE_URL": self.url if direct else self.proxy.url,
            "TOKENLEDGER_SPOOL_DIR": str(self.spool),
            "FAULTS_COUNTS": str(self.counts),
            "PYTHONPATH": os.pathsep.join([str(_TESTS), os.environ.get("PYTHONPATH", "")]),
        }

    def start(
        self, app: str, environment: Mapping[str, str] | None = None, **options: object
    ) -> subprocess.Popen[str]:
        """Start one of `apps`; it has said `ready` when this returns."""
        child = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "faults.apps", app, json.dumps(options)],
            env={**self.environment(), **(environment or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._children.append(child)
        self.expect(child, "ready")
        return child

    def run(self, app: str, environment: Mapping[str, str] | None = None, **options: object) -> int:
        """Run one of `apps` to its end; returns its exit status."""
        return self.end(self.start(app, environment, **options))

    def expect(self, child: subprocess.Popen[str], word: str) -> None:
        """Wait until a process says a word."""
        assert child.stdout is not None
        said = child.stdout.readline().strip()
        if said != word:
            raise AssertionError(f"a process said {said!r} instead of {word!r}")

    def end(self, child: subprocess.Popen[str]) -> int:
        """Wait for a process's end."""
        child.communicate(timeout=_CHILD_SECONDS)
        return child.returncode

    def until(self, condition: Callable[[], bool], what: str, seconds: float = 60.0) -> None:
        """Wait until something is so."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError(f"not in {seconds} s: {what}")
            time.sleep(0.01)

    def made(self) -> int:
        """Calls that ended so far."""
        return sum(counted.made for counted in read_counts(self.counts))

    def rows(self) -> int:
        """Rows in the ledger so far."""
        with psycopg.connect(self.url) as connection:
            found = connection.execute("SELECT count(*) FROM token_ledger_events").fetchone()
        return int(found[0]) if found else 0

    def recover(self, url: str = "") -> None:
        """Let another process of the same ledger write what is left."""
        for child in self._children:
            if child.poll() is None:
                child.kill()
            child.communicate()
        settings = {"database_url": url or self.proxy.url, "spool_dir": str(self.spool)}
        ledger = PostgresLedger(read_settings(settings))
        deadline = time.monotonic() + _RECOVERY_SECONDS
        while time.monotonic() < deadline:
            ledger.flush(timeout=_RECOVERY_SECONDS)
            if ledger.health()["last_error"] is None and not list(ledger.folder.glob("*.seg")):
                break
            time.sleep(0.05)
        ledger.shutdown(timeout=10.0)

    def tally(self) -> Tally:
        """Compare what was counted with what the ledger holds."""
        with psycopg.connect(self.url) as connection:
            stored = connection.execute(
                "SELECT user_id, cost_status, cost_usd FROM token_ledger_events"
            ).fetchall()
            found = connection.execute(
                "SELECT (SELECT count(*) FROM token_ledger_conflicts),"
                " (SELECT count(*) FROM token_ledger_duplicates)"
            ).fetchone()
        set_aside = sum(found) if found else 0
        known = {user: (status, cost) for user, status, cost in stored}
        lost = unfinished = made = 0
        for counted in read_counts(self.counts):
            made += counted.made
            unfinished += counted.opened - counted.made
            for number in range(1, counted.opened + 1):
                status, cost = known.get(f"{counted.name}-{number}", ("", None))
                ended = number <= counted.made
                lost += not status or (ended and (status != "priced" or cost is None))
        return Tally(made, unfinished, lost, len(stored) - len(known) + set_aside)
