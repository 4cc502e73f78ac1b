"""Chooses the database of a query."""

from __future__ import annotations

from tokenledger_exporter.errors import InvalidRequestError
from tokenledger_exporter.installed import PROCESS
from tokenledger_exporter.queries.arguments import check_text
from tokenledger_semconv.settings import read_settings


def known_database_url(database_url: str | None) -> str:
    """The given URL, else the one of `configure()`, else the one of the environment.

    Raises:
        InvalidRequestError: no URL is known, or it is no text.
    """
    if database_url is not None:
        check_text("database_url", database_url)
    configured = PROCESS.ledger.settings.database_url if PROCESS.ledger is not None else None
    url = database_url or configured or read_settings().database_url
    if not url:
        raise InvalidRequestError(
            "no database URL: call tokenledger.configure(database_url=...) first, or set "
            "TOKENLEDGER_DATABASE_URL"
        )
    return url
