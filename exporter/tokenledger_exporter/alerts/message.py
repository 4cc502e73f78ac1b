"""The message about an incident: a title and plain text for people, and a document for programs.

Names come from the senders of calls. In the text, characters that a chat or mail program may read
as markup, a mention or a link are replaced by ones that look alike. The document has them
unchanged.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

from tokenledger_exporter.plain_text import visible
from tokenledger_exporter.pricing.book import plain_usd

if TYPE_CHECKING:
    from collections.abc import Mapping

VERSION: Final = 1
"""Version of the document."""

_MAX_NAME: Final = 120
# Character -> one that looks alike and means nothing to a chat or mail program.
_LOOK_ALIKE: Final = str.maketrans(
    {
        "<": "\u2039",
        ">": "\u203a",
        "&": "\uff06",
        "*": "\u2217",
        "_": "\uff3f",
        "`": "\u02cb",
        "~": "\u223c",
        "|": "\u00a6",
        "@": "\uff20",
        "#": "\uff03",
        "[": "\uff3b",
        "]": "\uff3d",
        "\\": "\uff3c",
    }
)


@dataclass(frozen=True, slots=True)
class Message:
    """One message.

    Args:
        delivery_id: its id, the same in every attempt.
        title: one line.
        text: one or more lines of plain text.
        document: the same for programs; amounts are text.
    """

    delivery_id: str
    title: str
    text: str
    document: Mapping[str, Any]


def safe(text: str) -> str:
    """A name that no target reads as markup, a mention, a link or a line break."""
    shown = visible(text)
    shown = shown if len(shown) <= _MAX_NAME else shown[: _MAX_NAME - 1] + "…"
    # An underscore within a word is no markup, and most names have one.
    words = "".join(
        letter if letter == "_" and _is_within_word(shown, place) else letter.translate(_LOOK_ALIKE)
        for place, letter in enumerate(shown)
    )
    return words.replace("://", ":\u2215\u2215").replace("www.", "www\u2024")


def message_of(row: Mapping[str, Any]) -> Message:
    """The message of a row of the statement `keep_claim`."""
    is_over = row["event"] == "over"
    what = _reached(row)
    title = f"Over: {what}" if is_over else what
    lines = [_over_text(row) if is_over else _fired_text(row)]
    if not is_over and (cause := row["facts"].get("explained_by")):
        lines.append(
            f"{safe(cause['dimension'])} {safe(cause['value'])} explains {cause['share_percent']}% "
            f"of the rise (${cause['rise_usd']} more than in past weeks)."
        )
    if row["is_possible_repeat"]:
        lines.append(
            "You may have this message already: an earlier attempt ended without an answer."
        )
    lines.append(f"Alert {row['alert']}, incident {row['incident_id']}.")
    return Message(str(row["delivery_id"]), title, "\n".join(lines), _document(row, title, lines))


def example_message(alert: str, delivery_id: str) -> Message:
    """The message of `tokenledger alert test`."""
    title = f"Test of alert {alert}"
    text = "TokenLedger can reach this target. Nothing has happened."
    document = {
        "version": VERSION,
        "event": "test",
        "delivery_id": delivery_id,
        "alert": alert,
        "title": title,
        "text": text,
    }
    return Message(delivery_id, title, text, document)


def _document(row: Mapping[str, Any], title: str, lines: list[str]) -> dict[str, Any]:
    return {
        "version": VERSION,
        "event": row["event"],
        "delivery_id": str(row["delivery_id"]),
        "is_possible_repeat": row["is_possible_repeat"],
        "incident_id": row["incident_id"],
        "alert": row["alert"],
        "kind": row["kind"],
        "title": title,
        "text": "\n".join(lines),
        "value": row["value"],
        "threshold": plain_usd(row["threshold"]),
        "observed": plain_usd(row["observed"]),
        "period_starts_at": row["period_starts_at"].isoformat(),
        "fired_at": row["fired_at"].isoformat(),
        "over_at": row["over_at"].isoformat() if row["over_at"] else None,
        "over_reason": row["over_reason"],
        "facts": row["facts"],
    }


def _reached(row: Mapping[str, Any]) -> str:
    """What was reached, as a title."""
    facts = row["facts"]
    threshold, observed = plain_usd(row["threshold"]), plain_usd(row["observed"])
    of = f" of {safe(facts['by'])} {safe(row['value'])}" if row["value"] else ""
    if row["kind"] == "budget":
        return f"Budget {facts['budget']}{of} has used {threshold}%"
    calls = f" ({_filters(facts)})" if facts.get("where") else ""
    if row["kind"] == "unusual":
        return f"Unusual spend{of}{calls}: ${_cents(row['observed'])} in an hour"
    if row["kind"] == "spend":
        return f"Spend{of}{calls} is above ${threshold} per {facts['period']}"
    share = "failed calls" if row["kind"] == "errors" else "calls without a price"
    return f"{observed}% {share}{of}{calls}, above {threshold}%"


def _fired_text(row: Mapping[str, Any]) -> str:
    facts = row["facts"]
    if row["kind"] == "budget":
        limit_usd, used_usd = Decimal(facts["limit_usd"]), Decimal(facts["used_usd"])
        left_usd = limit_usd - used_usd
        left = (
            f"${_cents(left_usd)} is left"
            if left_usd >= 0
            else f"the limit is exceeded by ${_cents(-left_usd)}"
        )
        return (
            f"${_cents(used_usd)} of ${plain_usd(limit_usd)} is used "
            f"({plain_usd(row['observed'])}%); {left}.{_ends(facts, 'The budget resets')}"
        )
    if row["kind"] == "unusual":
        return (
            f"${_cents(row['observed'])} in the hour from {_local(facts, 'hour_starts_at')}; "
            f"usual at this hour of the week: ${facts['usual_usd']}."
        )
    if row["kind"] == "spend":
        return (
            f"${_cents(row['observed'])} in {facts['calls']:,} calls since "
            f"{_moment(row['period_starts_at'], facts)}.{_ends(facts, 'The period ends')}"
        )
    return (
        f"{facts['counted']:,} of {facts['calls']:,} calls since "
        f"{_moment(row['period_starts_at'], facts)}.{_ends(facts, 'The period ends')}"
    )


def _over_text(row: Mapping[str, Any]) -> str:
    reason = {
        "period": "A new period has started.",
        "below": "It is below the threshold again.",
    }.get(row["over_reason"], "It is over.")
    if row["kind"] == "unusual":
        reason = "The last hour is usual again."
    return f"{reason} It began {_moment(row['fired_at'], row['facts'])}."


def _ends(facts: Mapping[str, Any], what: str) -> str:
    return f" {what} {_local(facts, 'period_ends_at')}." if facts.get("period_ends_at") else ""


def _local(facts: Mapping[str, Any], name: str) -> str:
    return _moment(datetime.fromisoformat(facts[name]), facts)


def _moment(at: datetime, facts: Mapping[str, Any]) -> str:
    zone = facts.get("timezone") or "UTC"
    return f"{at.astimezone(ZoneInfo(zone)):%Y-%m-%d %H:%M} {zone}"


def _filters(facts: Mapping[str, Any]) -> str:
    return " ".join(
        f"{safe(name)}={safe(value)}" for name, values in facts["where"].items() for value in values
    )


def _cents(usd: Decimal) -> str:
    """An amount to the cent, and small ones in full."""
    return f"{usd:,.2f}" if abs(usd) >= Decimal("0.01") else plain_usd(usd)


def _is_within_word(text: str, place: int) -> bool:
    return 0 < place < len(text) - 1 and text[place - 1].isalnum() and text[place + 1].isalnum()
