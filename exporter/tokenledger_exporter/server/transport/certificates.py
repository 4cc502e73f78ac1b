"""Which organization a client's certificate stands for.

The operator says which part of the certificate names it: the common name, the organization of the
subject, or the first DNS name or URI among the subject's alternative names.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, cast

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

PARTS: Final = ("cn", "o", "san")
"""The parts to choose from."""

_SUBJECT: Final = {"cn": "commonName", "o": "organizationName"}
_ALTERNATIVES: Final = frozenset({"DNS", "URI"})
_FIT: Final = re.compile(r"[^\s,#*\x00-\x1f\x7f]{1,255}")
# gRPC tells these two of a certificate, and no organization (grpc 1.85, `auth_context`).
_OF_GRPC: Final = {"cn": "x509_common_name", "san": "x509_subject_alternative_name"}
GRPC_PARTS: Final = frozenset(_OF_GRPC)
"""The parts that gRPC knows of."""


def named_in_certificate(certificate: Mapping[str, object], part: str) -> str | None:
    """The organization in a certificate as `ssl.SSLSocket.getpeercert` gives it.

    Returns:
        `None` if the certificate names none, or several.
    """
    if part == "san":
        names = [name for kind, name in _alternatives(certificate) if kind in _ALTERNATIVES]
        return _fit(names[:1])
    return _fit([name for kind, name in _subject(certificate) if kind == _SUBJECT[part]])


def named_in_call(context: Mapping[str, Iterable[bytes]], part: str) -> str | None:
    """The organization in a gRPC call's `auth_context`; `None` as above."""
    found = [name.decode("utf-8", "replace") for name in context.get(_OF_GRPC[part], ())]
    return _fit(found[:1] if part == "san" else found)


def _fit(names: list[str]) -> str | None:
    return names[0] if len(names) == 1 and _FIT.fullmatch(names[0]) else None


def _subject(certificate: Mapping[str, object]) -> list[tuple[str, str]]:
    groups = cast("Iterable[Iterable[tuple[str, str]]]", certificate.get("subject", ()))
    return [pair for group in groups for pair in group]


def _alternatives(certificate: Mapping[str, object]) -> Iterable[tuple[str, str]]:
    return cast("Iterable[tuple[str, str]]", certificate.get("subjectAltName", ()))
