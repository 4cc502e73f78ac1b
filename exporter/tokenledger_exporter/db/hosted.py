"""What differs between Postgres, Supabase, Neon and RDS: addresses, poolers, TLS, SQL editors.

Sources, checked 2026-11-28: supabase.com/docs "Connect to your database" (direct connection and
session mode on port 5432, transaction mode on port 6543), neon.com/docs "Connection pooling" (a
pooled host has the suffix -pooler; migrations need a direct connection), AWS "Using SSL with a
PostgreSQL DB instance" (verify-full needs the RDS certificates in sslrootcert).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tokenledger_exporter.db.database_url import libpq_url, url_fault
from tokenledger_exporter.errors import DatabaseUrlError

_SUPABASE_TRANSACTION_PORT: Final = ":6543"
_NEON_POOLER: Final = re.compile(r"^([^.:]+)-pooler(?=\.)")


@dataclass(frozen=True, slots=True)
class Host:
    """A place where Postgres runs.

    Args:
        name: its name for people.
        example: the form of the URL that an app uses.
        needs_tls: whether a URL without `sslmode` gets `sslmode=require`.
        notes: what to know, a sentence each.
        editor: where SQL can be pasted; "" if there is no such place.
    """

    name: str
    example: str
    needs_tls: bool
    notes: tuple[str, ...]
    editor: str = ""


HOSTS: Final = {
    "postgres": Host(
        "Postgres",
        "postgresql://USER:PASSWORD@localhost:5432/DATABASE",
        needs_tls=False,
        notes=("A server on another machine needs ?sslmode=require or verify-full.",),
    ),
    "supabase": Host(
        "Supabase",
        "postgresql://postgres.REF:PASSWORD@aws-0-REGION.pooler.supabase.com:6543/postgres"
        "?sslmode=require",
        needs_tls=True,
        notes=(
            "Apps use port 6543, the pooler in transaction mode; migrations use port 5432.",
            "The direct host db.REF.supabase.co has only IPv6 addresses without the IPv4 add-on.",
        ),
        editor="Supabase's SQL editor",
    ),
    "neon": Host(
        "Neon",
        "postgresql://USER:PASSWORD@ENDPOINT-pooler.REGION.aws.neon.tech/DATABASE?sslmode=require",
        needs_tls=True,
        notes=("The host with -pooler is for apps; the one without it is for migrations.",),
        editor="Neon's SQL editor",
    ),
    "rds": Host(
        "Amazon RDS",
        "postgresql://USER:PASSWORD@NAME.ID.REGION.rds.amazonaws.com:5432/DATABASE"
        "?sslmode=verify-full&sslrootcert=global-bundle.pem",
        needs_tls=True,
        notes=(
            "sslmode=verify-full also checks the server's name; AWS publishes global-bundle.pem.",
            "Use a password: an IAM token expires after 15 minutes.",
        ),
    ),
}
"""The places by the name that `tokenledger init` takes."""

_DOMAINS: Final = {
    "supabase": (".supabase.co", ".supabase.com"),
    "neon": (".neon.tech", ".neon.build"),
    "rds": (".rds.amazonaws.com", ".rds.amazonaws.com.cn"),
}


def host_of(database_url: str) -> str:
    """The place that a connection string leads to: a key of `HOSTS`.

    Raises:
        DatabaseUrlError: the connection string is malformed.
    """
    host = str(_parts(database_url).get("host") or "").lower()
    return next((name for name, ends in _DOMAINS.items() if host.endswith(ends)), "postgres")


def app_url(database_url: str, host: str) -> str:
    """The URL for an app: as libpq reads it, with TLS if the place needs it.

    Raises:
        DatabaseUrlError: the connection string is malformed.
    """
    parts, url = _parts(database_url), libpq_url(database_url)
    if not HOSTS[host].needs_tls or parts.get("sslmode"):
        return url
    if not _is_url(url):
        return make_conninfo(url, sslmode="require")
    return f"{url}{'&' if urlsplit(url).query else '?'}sslmode=require"


def migration_url(database_url: str, host: str) -> str:
    """The URL for migrations: around a pooler in transaction mode, as far as it is known how."""
    if not _is_url(database_url):
        return database_url
    url = urlsplit(database_url)
    account, at, address = url.netloc.rpartition("@")
    if host == "supabase" and address.endswith(_SUPABASE_TRANSACTION_PORT):
        address = address.removesuffix(_SUPABASE_TRANSACTION_PORT) + ":5432"
    elif host == "neon":
        address = _NEON_POOLER.sub(r"\1", address)
    return urlunsplit(url._replace(netloc=f"{account}{at}{address}"))


def without_password(database_url: str) -> tuple[str, bool]:
    """The connection string without its password, and whether it had one."""
    has_password = bool(_parts(database_url).get("password"))
    if not _is_url(database_url):
        parts = {k: str(v) for k, v in _parts(database_url).items() if k != "password"}
        return make_conninfo("", **parts), has_password
    url = urlsplit(database_url)
    account, at, address = url.netloc.rpartition("@")
    query = [pair for pair in parse_qsl(url.query) if pair[0] != "password"]
    plain = url._replace(
        netloc=f"{account.partition(':')[0]}{at}{address}", query=urlencode(query, safe="/:")
    )
    return urlunsplit(plain), has_password


def _is_url(database_url: str) -> bool:
    return "://" in database_url.partition("=")[0]


def _parts(database_url: str) -> dict[str, object]:
    try:
        return dict(conninfo_to_dict(libpq_url(database_url)))
    except psycopg.ProgrammingError as error:
        fault = url_fault(database_url, str(error))
        raise DatabaseUrlError(f"the database URL is malformed: {fault}") from None
