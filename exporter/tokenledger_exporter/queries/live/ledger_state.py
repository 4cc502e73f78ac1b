"""The state of the ledger: what is well, what is not, and what to do about it.

What a database user may not read is `UNKNOWN`, which is no fault.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, Final

from psycopg import errors as pg_errors
from psycopg.rows import dict_row

from tokenledger_exporter.db import migrations
from tokenledger_exporter.db.shown_sql import show
from tokenledger_exporter.plain_text import counted
from tokenledger_exporter.pricing.book import plain_usd
from tokenledger_exporter.queries.report import OLD_PRICES
from tokenledger_exporter.sql import statements

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import psycopg

    Rows = Sequence[Mapping[str, Any]]

_SQL: Final = statements("health")
_QUERIES: Final = statements("queries")

OK: Final = "ok"
WARN: Final = "warn"
FAIL: Final = "fail"
UNKNOWN: Final = "unknown"

_MAX_LAG_SECONDS: Final = 300
_QUIET: Final = timedelta(days=1)
_MONTH: Final = timedelta(days=30)
_ACTIONS: Final = 10


@dataclass(frozen=True, slots=True)
class Finding:
    """One part of the state.

    Args:
        name: what was looked at.
        state: `OK`, `WARN`, `FAIL`, or `UNKNOWN` if this database user may not see it.
        detail: the figures, as a sentence.
        remedy: what to do; "" if nothing.
    """

    name: str
    state: str
    detail: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class LedgerState:
    """All findings, and what was last done to the ledger.

    Args:
        asked_at: the time of the answer, by the database's clock.
        newest_at: when the newest call began; `None` if there is none.
        actions: the newest entries of the audit log; `None` if this user may not read it.
    """

    asked_at: datetime
    newest_at: datetime | None
    findings: Sequence[Finding]
    actions: Rows | None

    @property
    def worst(self) -> str:
        """The worst state of all: `FAIL`, `WARN` or `OK`."""
        states = {finding.state for finding in self.findings}
        return next((state for state in (FAIL, WARN) if state in states), OK)


def read_state(connection: psycopg.Connection[Any]) -> LedgerState:
    """Read the state in the snapshot of the connection's transaction."""
    status = migrations.read_status(connection)
    schema = Finding("Schema", OK, status.sentence)
    if not status.is_current:
        detail, _, remedy = status.sentence.partition(": ")
        schema = Finding("Schema", FAIL, detail, remedy)
    [newest] = _rows(connection, "newest_call")
    asked_at: datetime = newest["asked_at"]
    recent = {"since": asked_at - _MONTH, "until": asked_at + timedelta(minutes=1)}
    today = {**recent, "since": asked_at - _QUIET}
    findings = [
        schema,
        _newest(newest["newest_at"], asked_at),
        check_prices(connection),
        _allowed(connection, "Duplicates", "waiting_minutes", {}, _waiting),
        _allowed(connection, "Sums", "waiting_slices", {}, _sums),
        _allowed(connection, "Quarantine", "quarantined", {}, _quarantined),
        _allowed(connection, "Losses", "lost", recent, _lost),
        _allowed(connection, "Duplicate reports", "duplicates", recent, _duplicates),
        _allowed(connection, "Conflicting reports", "conflicts", {}, _conflicts),
        _allowed(connection, "Suspected duplicates", "suspects", today, _suspects),
        _allowed(
            connection, "Partitions", "partitions", {}, lambda rows: _partitions(rows, asked_at)
        ),
    ]
    actions = _if_allowed(connection, "maintenance", {"limit": _ACTIONS})
    return LedgerState(asked_at, newest["newest_at"], findings, actions)


def _rows(
    connection: psycopg.Connection[Any], name: str, values: Mapping[str, object] | None = None
) -> Rows:
    statement = _SQL[name]
    show(connection, statement, values or {})
    return connection.cursor(row_factory=dict_row).execute(statement, values).fetchall()


def _if_allowed(
    connection: psycopg.Connection[Any], name: str, values: Mapping[str, object]
) -> Rows | None:
    """The rows of a statement; `None` if this database user may not read them."""
    try:
        with connection.transaction():
            return _rows(connection, name, values)
    except pg_errors.InsufficientPrivilege:
        return None


def _allowed(
    connection: psycopg.Connection[Any],
    title: str,
    name: str,
    values: Mapping[str, object],
    judge: Callable[[Rows], Finding],
) -> Finding:
    rows = _if_allowed(connection, name, values)
    if rows is None:
        detail = "this database user may not see it"
        return Finding(title, UNKNOWN, detail, "run 'tokenledger doctor' as the tables' owner")
    return judge(rows)


def _newest(newest_at: datetime | None, asked_at: datetime) -> Finding:
    name = "Newest call"
    if newest_at is None:
        remedy = "run 'tokenledger doctor' in the environment of your app: it sends a test call"
        return Finding(name, WARN, "there are no calls yet", remedy)
    moment = f"{newest_at.astimezone(timezone.utc):%Y-%m-%d %H:%M:%S} UTC"
    detail = f"it began at {moment}"
    if asked_at - newest_at <= _QUIET:
        return Finding(name, OK, detail)
    remedy = (
        "if your app made calls since then, run 'tokenledger doctor' in its environment; "
        "'tokenledger spool drain' writes what waits there"
    )
    return Finding(name, WARN, f"{detail}, more than a day ago", remedy)


def check_prices(connection: psycopg.Connection[Any]) -> Finding:
    """Whether the price book was checked lately."""
    name, remedy = "Prices", "upgrade genai-prices and run 'tokenledger prices update'"
    show(connection, _QUERIES["price_age"], {})
    row = connection.execute(_QUERIES["price_age"]).fetchone()
    if row is None or row[0] is None:
        return Finding(name, FAIL, "the price book is empty: every call is unpriced", remedy)
    age = datetime.now(timezone.utc).date() - row[0]
    detail = f"prices were last checked on {row[0]}, {counted(age.days, 'day')} ago"
    return Finding(name, OK, detail) if age <= OLD_PRICES else Finding(name, WARN, detail, remedy)


def check_duplicates(connection: psycopg.Connection[Any]) -> Finding:
    """Whether calls wait to be checked for duplicates; needs the rights of a keeper."""
    return _waiting(_rows(connection, "waiting_minutes"))


def check_sums(connection: psycopg.Connection[Any]) -> Finding:
    """Whether the roll-ups are up to date; needs the rights of a keeper."""
    return _sums(_rows(connection, "waiting_slices"))


def check_suspects(
    connection: psycopg.Connection[Any], since: datetime, until: datetime
) -> Finding:
    """Whether a response id of a period is in several rows."""
    return _suspects(_rows(connection, "suspects", {"since": since, "until": until}))


def _waiting(rows: Rows) -> Finding:
    name, [row] = "Duplicates", rows
    if row["waited_seconds"] <= _MAX_LAG_SECONDS:
        return Finding(name, OK, "every call is checked, or will be within minutes")
    return Finding(
        name,
        WARN,
        f"calls of {counted(row['minutes'], 'minute')} wait to be checked for duplicates, the "
        f"oldest for {_minutes(row)}",
        "run 'tokenledger keep' from cron, as a user who may UPDATE and DELETE",
    )


def _sums(rows: Rows) -> Finding:
    name, [row] = "Sums", rows
    if row["waited_seconds"] <= _MAX_LAG_SECONDS:
        return Finding(
            name, OK, "up to date, except for the last minutes; reports are always exact"
        )
    return Finding(
        name,
        WARN,
        f"{counted(row['slices'], 'slice')} of two seconds wait, the oldest for {_minutes(row)}: "
        "reports are exact but slow",
        "run 'tokenledger keep --every 2' as the tables' owner or with the keeper role",
    )


def _minutes(row: Mapping[str, Any]) -> str:
    return counted(int(row["waited_seconds"]) // 60, "minute")


def _quarantined(rows: Rows) -> Finding:
    name = "Quarantine"
    if not rows:
        return Finding(name, OK, "every row could be stored")
    reasons = "; ".join(f"{row['rows']:,} x {row['reason']}" for row in rows)
    return Finding(
        name,
        WARN,
        f"{counted(rows[0]['all_rows'], 'row')} could not be stored: {reasons}",
        "see token_ledger_rejected; correct the sender, or the database as the reason says",
    )


def _lost(rows: Rows) -> Finding:
    name = "Losses"
    if not rows:
        return Finding(name, OK, "no records were lost in the last 30 days")
    reasons = "; ".join(f"{row['records']:,} x {row['reason']}" for row in rows)
    return Finding(
        name,
        WARN,
        f"{counted(rows[0]['all_records'], 'record')} of the last 30 days were lost: {reasons}",
        "give the spool a writable disk with free space; see token_ledger_losses",
    )


def _duplicates(rows: Rows) -> Finding:
    name, [row] = "Duplicate reports", rows
    if not row["reports"]:
        return Finding(name, OK, "none in the last 30 days")
    return Finding(
        name,
        OK,
        f"{counted(row['reports'], 'report')} of the last 30 days were excluded: "
        f"${plain_usd(row['cost_usd'])} is not counted twice",
    )


def _conflicts(rows: Rows) -> Finding:
    name, [row] = "Conflicting reports", rows
    if not row["rows"]:
        return Finding(name, OK, "none")
    return Finding(
        name,
        WARN,
        f"{counted(row['rows'], 'report')} of calls that the ledger has with other counts, the "
        f"latest on {row['latest_at']:%Y-%m-%d}",
        "see token_ledger_conflicts; two senders describe one span differently",
    )


def _suspects(rows: Rows) -> Finding:
    name, [row] = "Suspected duplicates", rows
    if not row["response_ids"]:
        return Finding(name, OK, "no response id is in two rows")
    return Finding(
        name,
        OK,
        f"{counted(row['response_ids'], 'response id')} with several rows, which differ in time or "
        "counts",
        "see token_ledger_suspected_duplicates",
    )


def _partitions(rows: Rows, asked_at: datetime) -> Finding:
    name, [row] = "Partitions", rows
    last = str(row["last_partition"] or "")[-len("2026_11") :].replace("_", "-")
    first = asked_at.astimezone(timezone.utc).replace(day=1)
    next_month = f"{first + timedelta(days=31):%Y-%m}"
    detail = f"{counted(row['partitions'], 'month')}, up to {last}"
    if last >= next_month:
        return Finding(name, OK, detail)
    return Finding(
        name,
        WARN,
        f"{detail}: the next month has none",
        "run 'tokenledger keep', or SELECT token_ledger_add_partitions(now()::date, (now() + "
        "interval '3 months')::date)",
    )
