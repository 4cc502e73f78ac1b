"""The ids of reservations: each says which sender may settle it."""

from __future__ import annotations

import hashlib
import re
import secrets
from typing import Final

_RANDOM_BYTES: Final = 16
_SENDER_LETTERS: Final = 16
_FREE: Final = "free"
_HELD: Final = "held"
_FORM: Final = re.compile(rf"({_FREE}|{_HELD})-([0-9a-f]{{{_SENDER_LETTERS}}})-[0-9a-f]{{32}}")


def new_id(organization: str) -> str:
    """An id that cannot be guessed, for a sender of an organization; "" is any organization."""
    return f"{_HELD}-{_sender(organization)}-{secrets.token_hex(_RANDOM_BYTES)}"


def without_money(reservation_id: str) -> str:
    """The id of a reservation that no budget needs."""
    return _FREE + reservation_id.removeprefix(_HELD)


def holds_money(reservation_id: str) -> bool:
    """Whether the database knows the reservation."""
    return not reservation_id.startswith(_FREE)


def belongs_to(reservation_id: str, organization: str) -> bool:
    """Whether a sender may settle it.

    A sender that is bound to no organization may settle those of all.
    """
    form = _FORM.fullmatch(reservation_id)
    return form is not None and (not organization or form[2] == _sender(organization))


def _sender(organization: str) -> str:
    return hashlib.sha256(organization.encode()).hexdigest()[:_SENDER_LETTERS]
