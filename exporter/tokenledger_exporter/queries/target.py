"""Which ledger a question goes to."""

from __future__ import annotations

from tokenledger_exporter.errors import InvalidRequestError
from tokenledger_exporter.installed import PROCESS
from tokenledger_semconv.settings import read_settings


def known_database_url(database_url: str | None) -> str:
    """The one given, else that of `configure()`, else of the environment.

    Raises:
        UsageError: there is none.
    """
    configured = PROCESS.ledger.settings.database_url if PROCESS.ledger is not None else None
    given = database_url or configured or read_settings().database_url
    if not given:
        raise InvalidRequestError(
            "no database URL: call tokenledger.configure(database_url=...) first, or set "
            "TOKENLEDGER_DATABASE_URL"
        )
    return given
