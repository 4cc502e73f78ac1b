"""With concurrent changes, every view equals the calls in every snapshot."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, Final

import psycopg
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from support.expected_sums import differences
from tokenledger_exporter.maintenance.erase import erase
from tokenledger_exporter.rollups import refresh as rollups
from tokenledger_exporter.rollups.verify import wrong_weeks

if TYPE_CHECKING:
    from collections.abc import Callable

# Calls of the last five hours, some of which have slices; and some calls of earlier days, which a
# whole refresh adds to their weeks.
NOW: Final = datetime.now(timezone.utc)
EMPTY: Final = (
    "TRUNCATE token_ledger_events, token_ledger_rollup_dirty_slices, token_ledger_rollup_slices,"
    " token_ledger_rollup_hours, token_ledger_rollup_days, token_ledger_rollup_weeks,"
    " token_ledger_erasures;"
    " UPDATE token_ledger_rollup_state SET since = '-infinity', weeks_until = '-infinity',"
    " hot_since = date_trunc('hour', now(), 'UTC') - interval '2 hours'"
)
INSERT: Final = (
    "INSERT INTO {} (timestamp, provider, model, user_id, team, input_tokens, cost_usd,"
    " cost_status, settled)"
    " VALUES (%(timestamp)s, 'p', %(model)s, %(user)s, %(team)s, 7, %(cost)s, %(status)s,"
    " %(settled)s)"
)
# Only rows that no open transaction has locked: a thread's transactions cannot wait for each other.
SOME: Final = (
    " WHERE (event_id, timestamp) IN (SELECT event_id, timestamp FROM token_ledger_events"
    " WHERE user_id = %(user)s ORDER BY event_id LIMIT %(rows)s FOR UPDATE SKIP LOCKED)"
)
CHANGES: Final = {
    "reprice": "UPDATE token_ledger_events SET cost_usd = cost_usd * 2 + 0.1",
    "settle": "UPDATE token_ledger_events SET settled = NOT settled, team = 'c'",
    "move": "UPDATE token_ledger_events SET timestamp = timestamp - interval '1 second'",
    "unprice": "UPDATE token_ledger_events SET cost_usd = NULL, cost_status = 'unpriced'",
    "delete": "DELETE FROM token_ledger_events",
}

USERS: Final = ("ada", "bob")
WHO: Final = st.integers(0, 1)
USER: Final = st.sampled_from(USERS)
# A step: its name and its arguments.
STEP: Final = st.one_of(
    st.tuples(st.just("write"), WHO, USER, st.integers(0, 18_000), st.sampled_from("ab")),
    st.tuples(st.just("write"), WHO, USER, st.integers(0, 20), st.sampled_from("ab")),
    st.tuples(st.just("write"), WHO, USER, st.integers(90_000, 900_000), st.sampled_from("ab")),
    st.tuples(st.just("change"), WHO, USER, st.sampled_from(sorted(CHANGES)), st.integers(1, 3)),
    st.tuples(st.just("end"), WHO, st.booleans()),
    st.tuples(st.just("refresh"), WHO),
    st.tuples(st.just("refresh"), WHO),
    st.tuples(st.just("kill"), WHO),
    st.tuples(st.just("refresh_all")),
    st.tuples(st.just("pass_an_hour")),
    st.tuples(st.just("erase"), USER),
    st.tuples(st.just("hold_snapshot")),
)

# Calls whose marks one refresher has taken; the rest of its work; and the work of a second one.
BEGUN: Final = [
    *(("write", 0, "ada", 1, "a"), ("write", 0, "ada", 4_000, "a"), ("end", 0, True)),
    *(("refresh", 0), ("refresh", 0)),
]
FINISHED: Final = [("refresh", 0), ("refresh", 0)]
SECOND: Final = [("refresh", 1)] * 3
LATER: Final = [
    *(("change", 0, "ada", "reprice", 2), ("write", 1, "bob", 4_000, "a"), ("end", 0, True)),
    *(("refresh", 0), ("refresh", 0), ("end", 1, True)),
    *FINISHED,
]
# Days that were added to their week; and a change of them whose marks a refresher has taken.
OLD: Final = [
    *(("write", 0, "ada", 300_000, "a"), ("write", 0, "bob", 700_000, "a"), ("end", 0, True)),
    ("refresh_all",),
]
LATE: Final = [
    *(("write", 1, "ada", 300_000, "b"), ("change", 0, "bob", "delete", 1)),
    *(("end", 0, True), ("end", 1, True), ("hold_snapshot",), ("refresh", 0), ("refresh", 0)),
]


@dataclass
class World:
    """Two writers, two refreshers and a reader that looks at an older snapshot."""

    database_url: str
    connections: ExitStack
    writers: list[psycopg.Connection[Any]] = field(default_factory=list["psycopg.Connection[Any]"])
    refreshers: list[psycopg.Connection[Any]] = field(
        default_factory=list["psycopg.Connection[Any]"]
    )
    # Stage of each refresher: `None`, locked, the taken marks, recomputed.
    stages: list[rollups.ClaimedSlices | str | None] = field(default_factory=lambda: [None, None])

    def __post_init__(self) -> None:
        self.reader = self.open()
        self.reader.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        self.writers = [self.open(), self.open()]
        self.refreshers = [self.open(), self.open()]
        self.other = self.open()
        self.other.execute(EMPTY)
        self.other.commit()

    def open(self) -> psycopg.Connection[Any]:
        # No session here may wait for a lock; waiting would mean that two refreshers run.
        connection = psycopg.connect(self.database_url, options="-c lock_timeout=2s")
        return self.connections.enter_context(connection)

    @property
    def is_refreshing(self) -> bool:
        return self.stages != [None, None]

    def write(self, who: int, user: str, seconds_ago: int, team: str) -> None:
        """Insert into the partition and mark the slice, as a writer does."""
        timestamp = NOW - timedelta(seconds=seconds_ago)
        leaf = f"token_ledger_events_{timestamp:%Y_%m}"
        self.writers[who].execute(
            INSERT.format(leaf).encode(),
            {
                "timestamp": timestamp,
                "model": f"m-{team}",
                "user": user,
                "team": team,
                "cost": None if seconds_ago % 3 == 0 else "0.1",
                "status": "unmeasured" if seconds_ago % 3 == 0 else "priced",
                "settled": seconds_ago % 2 == 0,
            },
        )
        rollups.mark(self.writers[who], [timestamp])

    def change(self, who: int, user: str, kind: str, rows: int) -> None:
        """Change the parent table, as all code except the writer does."""
        statement = CHANGES[kind] + SOME
        if kind == "reprice":
            statement += " AND cost_usd IS NOT NULL"
        self.writers[who].execute(statement.encode(), {"user": user, "rows": rows})

    def end(self, who: int, commits: bool) -> None:
        writer = self.writers[who]
        writer.commit() if commits else writer.rollback()

    def refresh(self, who: int) -> None:
        """Run the next stage of a refresher's work."""
        connection, stage = self.refreshers[who], self.stages[who]
        if stage is None:
            self.stages[who] = "locked" if rollups.try_lock(connection) else None
            if self.stages[who] is None:
                connection.rollback()
        elif stage == "locked":
            self.stages[who] = rollups.take(connection)
        elif isinstance(stage, rollups.ClaimedSlices):
            rollups.recompute(connection, stage)
            self.stages[who] = "recomputed"
        else:
            connection.commit()
            self.stages[who] = None

    def kill(self, who: int) -> None:
        """Terminate the refresher's session at any stage of its work."""
        process = self.refreshers[who].info.backend_pid
        self.other.execute("SELECT pg_terminate_backend(%s, 5000)", (process,))
        self.other.commit()
        self.refreshers[who].close()
        self.refreshers[who] = self.open()
        self.stages[who] = None

    def refresh_all(self) -> None:
        """Run a whole refresh; it does nothing while another session refreshes."""
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            rollups.refresh(connection)

    def pass_an_hour(self) -> None:
        """Delete the slices of a past hour, as a refresh does; the hour has their sums."""
        if self.is_refreshing:
            return
        rollups.lock(self.other)
        self.other.execute(
            "UPDATE token_ledger_rollup_state SET hot_since = hot_since + interval '1 hour'"
        )
        self.other.execute(
            "DELETE FROM token_ledger_rollup_slices USING token_ledger_rollup_state"
            " WHERE bucket < hot_since"
        )
        self.other.commit()

    def erase(self, user: str) -> None:
        """Erase a user, after all locks on rows and roll-ups are released."""
        if not self.is_refreshing:
            for who in (0, 1):
                self.end(who, commits=True)
            erase(self.database_url, user)

    def hold_snapshot(self) -> None:
        """Start a snapshot that the reader uses from now on."""
        self.reader.rollback()
        self.reader.execute("SELECT 1 FROM token_ledger_events LIMIT 1")

    def check(self) -> None:
        """Compare views and calls in the reader's snapshot, a new one, and each writer's."""
        assert [*differences(self.reader), *wrong_weeks(self.reader)] == []
        with self.other.transaction():
            self.other.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            assert [*differences(self.other), *wrong_weeks(self.other)] == []
        for writer in self.writers:
            if writer.info.transaction_status == psycopg.pq.TransactionStatus.INTRANS:
                assert [*differences(writer), *wrong_weeks(writer)] == []


@settings(
    max_examples=6,
    deadline=None,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@example(steps=[*BEGUN, ("write", 1, "bob", 1, "b"), ("end", 1, True), *FINISHED])
@example(steps=[*BEGUN, ("write", 1, "bob", 1, "b"), ("end", 1, True), *SECOND, *FINISHED])
@example(steps=[*BEGUN, ("hold_snapshot",), ("refresh", 0), ("kill", 0), ("refresh_all",)])
@example(steps=[*BEGUN, *FINISHED, ("pass_an_hour",), ("pass_an_hour",), *LATER, ("refresh_all",)])
@example(steps=[*OLD, *LATE, *FINISHED, ("erase", "ada"), ("refresh_all",)])
@given(steps=st.lists(STEP, min_size=12, max_size=24))
def test_every_view_is_exact_in_every_snapshot(
    database_url: str, steps: list[tuple[Any, ...]]
) -> None:
    with ExitStack() as connections:
        world = World(database_url, connections)
        for name, *arguments in steps:
            step: Callable[..., None] = getattr(world, name)
            step(*arguments)
            world.check()
        for who in (0, 1):
            world.end(who, commits=True)
            world.kill(who)
        world.refresh_all()
        world.reader.rollback()
        world.check()
        # No slice is dirty, so the views above did not read the calls.
        assert world.other.execute(
            "SELECT count(*) FROM token_ledger_rollup_dirty_slices"
        ).fetchall() == [(0,)]
