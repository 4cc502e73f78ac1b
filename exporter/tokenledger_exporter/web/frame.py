"""What every page shows around its content, and no page knows: a notice, and who is signed in."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Frame:
    """The surroundings of a page.

    Args:
        notice: what stands at its top; "" for nothing.
        signed_in_as: who may end a session of this browser; "" if there is none.
        organization: the only organization that is shown; "" if it is not limited to one.
        trace_url: address of a trace in the user's tracing system, with `{trace_id}` in it; "" has
            no such links.
    """

    notice: str = ""
    signed_in_as: str = ""
    organization: str = ""
    trace_url: str = ""


NOTICE_HEADER: Final = "TokenLedger-Notice"
"""The header that has the notice, in each answer."""

FRAME: Final[ContextVar[Frame]] = ContextVar("tokenledger_frame")
"""The frame of the request that is answered; threads that answer it see it, too."""

EMPTY: Final = Frame()
"""Nothing around a page."""


def current_frame() -> Frame:
    """The frame of this request; an empty one outside of a request."""
    return FRAME.get(EMPTY)
