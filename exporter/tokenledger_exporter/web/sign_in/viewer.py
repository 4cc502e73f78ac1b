"""Who looks: the holder of a token, the user that a proxy names, or anyone on this machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

VIEWER: Final = "tokenledger.viewer"
"""Key in a request's scope: its `Viewer`."""

TOKEN, PROXY_USER, MACHINE = "token", "proxy user", "this machine"
_SHOWN_DIGITS: Final = 12


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who sent a request.

    Args:
        kind: `token`, `proxy user` or `this machine`.
        name: the start of the token's hash, or the user; "" for this machine.
        organization: the only organization whose calls it may see; "" for every one.
        has_session: whether a cookie identified it, which signing out ends.
    """

    kind: str
    name: str = ""
    organization: str = ""
    has_session: bool = False

    @property
    def text(self) -> str:
        """Who it is, in words."""
        return f"{self.kind} {self.name}".strip()


THIS_MACHINE: Final = Viewer(MACHINE)
"""The viewer of a dashboard that asks for no sign-in."""


def token_viewer(token_hash: str, organization: str, *, has_session: bool = False) -> Viewer:
    """The holder of a token, named by the start of its hash, as in the tokens file."""
    return Viewer(TOKEN, token_hash[:_SHOWN_DIGITS], organization, has_session)


def viewer_of(scope: Any) -> Viewer:  # noqa: ANN401 - an ASGI scope
    """Who sent a request that has passed the gate."""
    viewer: Viewer = scope[VIEWER]
    return viewer
