"""Database URLs as other tools write them, in the form that libpq reads; what is wrong with others.

SQLAlchemy names a driver in the scheme, Prisma and asyncpg have parameters of their own, and a
copied URL may have quotes or spaces around it.
"""

from __future__ import annotations

import re
from typing import Final

EXAMPLE: Final = "postgresql://user:password@host:5432/database"
"""The form to use, for messages."""

_SCHEME: Final = re.compile(r"(?P<scheme>[A-Za-z][\w.-]*)(\+[\w-]+)?://")
_POSTGRES: Final = frozenset({"postgres", "postgresql"})
_QUOTES: Final = ("'", '"')
# Parameters of Prisma, asyncpg, SQLAlchemy's pools, node-postgres and Supabase; libpq refuses them.
_IGNORED: Final = frozenset(
    {
        *("pgbouncer", "connection_limit", "pool_timeout", "socket_timeout", "sslaccept"),
        *("statement_cache_size", "prepared_statement_cache_size", "async_fallback"),
        *("pool_size", "max_overflow", "pool_recycle", "pool_pre_ping", "command_timeout"),
        *("uselibpqcompat", "supa"),
    }
)
_PUBLIC: Final = "public"
# asyncpg's and node-postgres' values -> libpq's.
_SSL_MODES: Final = {"true": "require", "false": "disable", "no-verify": "require"}
_PARAMETER: Final = re.compile(r'invalid URI query parameter: "([\w.-]+)"')
_LONE_PERCENT: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")


def libpq_url(text: str) -> str:
    """The URL without quotes, a driver's name, and parameters that are not libpq's."""
    url = text.strip()
    if len(url) > 1 and url[0] == url[-1] and url[0] in _QUOTES:
        url = url[1:-1].strip()
    match = _SCHEME.match(url)
    if not match or match["scheme"].lower() not in _POSTGRES:
        return url
    address, mark, query = url[match.end() :].partition("?")
    if "@" in query:
        # The question mark belongs to the password.
        address, mark, query = url[match.end() :], "", ""
    parameters = _parameters(query) if mark else []
    return f"postgresql://{address}{'?' if parameters else ''}{'&'.join(parameters)}"


def url_fault(text: str, libpq_message: str) -> str:
    """Which part of a URL that libpq cannot read is wrong, and how to write it; no secrets."""
    url = libpq_url(text)
    match = _SCHEME.match(url)
    if match is None:
        if "=" in url:
            return f"its key=value pairs cannot be read; use {EXAMPLE}"
        return f"it does not begin with postgresql://; use {EXAMPLE}"
    if match["scheme"].lower() not in _POSTGRES:
        return f"it begins with {match['scheme']}://, and the ledger needs Postgres; use {EXAMPLE}"
    return _part_fault(url[match.end() :].partition("?")[0], libpq_message)


def _part_fault(address: str, libpq_message: str) -> str:
    """The fault of a Postgres URL.

    Args:
        address: user, password, host and database.
        libpq_message: what libpq says; it may contain secrets.
    """
    if _LONE_PERCENT.search(address):
        return "its user name or password contains %; write it as %25"
    if address.count("[") != address.count("]"):
        return "its host has [ without ] or the reverse; write an IPv6 address as [::1]"
    if parameter := _PARAMETER.search(libpq_message):
        return f"Postgres has no connection parameter {parameter[1]!r}; remove it after the ?"
    return f"use {EXAMPLE}, and write @ : / ? % in a password as %40 %3A %2F %3F %25"


def _parameters(query: str) -> list[str]:
    """The parameters in libpq's form; a schema becomes the search path."""
    parameters: list[str] = []
    options: list[str] = []
    for pair in query.split("&"):
        name, _, value = pair.partition("=")
        if name == "schema":
            options += [f"-csearch_path%3D{value}"] if value and value != _PUBLIC else []
        elif name == "options":
            options.append(value)
        elif name in {"ssl", "sslmode"}:
            parameters.append(f"sslmode={_SSL_MODES.get(value.lower(), value)}")
        elif name and name not in _IGNORED:
            parameters.append(pair)
    return [*parameters, *([f"options={'%20'.join(options)}"] if options else [])]
