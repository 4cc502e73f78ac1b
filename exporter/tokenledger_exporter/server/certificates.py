"""Reads the organization of a client from its TLS certificate.

The operator chooses the part of the certificate that names it: the common name, the organization of
the subject, or the first DNS name or URI among the subject alternative names.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, cast

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

PARTS: Final = ("cn", "o", "san")
"""The parts an operator can choose from."""

_SUBJECT: Final = {"cn": "commonName", "o": "organizationName"}
_ALTERNATIVES: Final = frozenset({"DNS", "URI"})
_VALID_NAME: Final = re.compile(r"[^\s,#*\x00-\x1f\x7f]{1,255}")
# gRPC reports these two parts, but not the organization (grpc 1.85, `auth_context`).
_GRPC_PROPERTIES: Final = {"cn": "x509_common_name", "san": "x509_subject_alternative_name"}
GRPC_PARTS: Final = frozenset(_GRPC_PROPERTIES)
"""The parts that gRPC reports."""


def organization_in_certificate(certificate: Mapping[str, object], part: str) -> str | None:
    """The organization in a certificate, as returned by `ssl.SSLSocket.getpeercert`.

    Returns:
        `None` if the certificate names no organization, or more than one.
    """
    if part == "san":
        names = [name for kind, name in _alternatives(certificate) if kind in _ALTERNATIVES]
        return _only_valid(names[:1])
    return _only_valid([name for kind, name in _subject(certificate) if kind == _SUBJECT[part]])


def organization_in_grpc_call(context: Mapping[str, Iterable[bytes]], part: str) -> str | None:
    """The same for the `auth_context` of a gRPC call."""
    names = [name.decode("utf-8", "replace") for name in context.get(_GRPC_PROPERTIES[part], ())]
    return _only_valid(names[:1] if part == "san" else names)


def _only_valid(names: list[str]) -> str | None:
    return names[0] if len(names) == 1 and _VALID_NAME.fullmatch(names[0]) else None


def _subject(certificate: Mapping[str, object]) -> list[tuple[str, str]]:
    groups = cast("Iterable[Iterable[tuple[str, str]]]", certificate.get("subject", ()))
    return [pair for group in groups for pair in group]


def _alternatives(certificate: Mapping[str, object]) -> Iterable[tuple[str, str]]:
    return cast("Iterable[tuple[str, str]]", certificate.get("subjectAltName", ()))
