"""Delivers queued messages, each at least once.

A message is claimed in a transaction of its own, and its row stays locked while it is sent: two
living senders never have the same message. If a sender ends between the target's answer and its
commit, the claim expires and the message is sent again, marked as a possible repeat.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from psycopg.rows import dict_row

from tokenledger_exporter.alerts import channels
from tokenledger_exporter.alerts.message import message_of
from tokenledger_exporter.alerts.targets import TargetError
from tokenledger_exporter.alerts.webhook import MayHaveArrivedError
from tokenledger_exporter.sql import statements

if TYPE_CHECKING:
    import psycopg

_SQL: Final = statements("alerts")
_LEASE_SECONDS: Final = 60.0


@dataclass(slots=True)
class Sent:
    """What became of the messages of one pass.

    Args:
        delivered: messages that their targets accepted.
        repeats: those of them that may have arrived before.
        failed: messages that are tried again later.
        undeliverable: messages that were given up.
        troubles: why, a sentence per target.
    """

    delivered: int = 0
    repeats: int = 0
    failed: int = 0
    undeliverable: int = 0
    troubles: list[str] = field(default_factory=list[str])


def send_waiting(connection: psycopg.Connection[Any], seconds: float = channels.SECONDS) -> Sent:
    """Send every message that is due. A target that fails is not tried again in the same pass.

    Args:
        connection: the ledger, in autocommit mode.
        seconds: the longest time of one delivery.
    """
    sent = Sent()
    skipped: set[str] = set()
    while True:
        values = {"skipped": list(skipped), "lease_seconds": _LEASE_SECONDS + seconds}
        claims = connection.execute(_SQL["claim"], values).fetchall()
        if not claims:
            return sent
        for delivery_id, attempts in claims:
            claim = {"delivery_id": delivery_id, "attempts": attempts}
            if target := _deliver(connection, claim, seconds, sent):
                skipped.add(target)


def _deliver(
    connection: psycopg.Connection[Any], claim: dict[str, object], seconds: float, sent: Sent
) -> str:
    """Send one message while its row is locked; returns its target if that failed."""
    with connection.transaction():
        with connection.cursor(row_factory=dict_row) as cursor:
            row = cursor.execute(_SQL["keep_claim"], claim).fetchone()
        if row is None:
            # Another sender was faster, or the alert was deleted.
            return ""
        try:
            channels.send(row["target"], row["secret"], message_of(row), seconds)
        except TargetError as error:
            return _note_failure(connection, row, error, sent)
        connection.execute(_SQL["delivered"], claim)
    sent.delivered += 1
    sent.repeats += row["is_possible_repeat"]
    return ""


def _note_failure(
    connection: psycopg.Connection[Any], row: dict[str, Any], error: TargetError, sent: Sent
) -> str:
    values = {
        "delivery_id": row["delivery_id"],
        "error": str(error),
        "may_have_arrived": isinstance(error, MayHaveArrivedError),
    }
    [(state,)] = connection.execute(_SQL["failed"], values).fetchall()
    if state == "waiting":
        sent.failed += 1
        what = "a message was not delivered and will be tried again"
    else:
        sent.undeliverable += 1
        what = "a message could not be delivered for a day and was given up"
    target: str = row["target"]
    sent.troubles.append(f"alert {row['alert']}, target {target}: {what}: {error}")
    return target
