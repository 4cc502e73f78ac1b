"""Log records of the ledger: an event name, one sentence, and structured fields.

Each record of the logger `tokenledger` has the fields `event` and `facts`, so that a JSON log can
be searched by them. No record holds a value from the app: no URL, prompt, key or id.
"""

from __future__ import annotations

import logging
from typing import Final

from tokenledger_exporter.plain_text import visible

LOGGER: Final = logging.getLogger("tokenledger")


def warn(event: str, sentence: str, **facts: object) -> None:
    """Log a condition that an operator may want to look at."""
    _log(logging.WARNING, event, sentence, facts)


def fail(event: str, sentence: str, **facts: object) -> None:
    """Log a loss of data."""
    _log(logging.ERROR, event, sentence, facts)


def _log(level: int, event: str, sentence: str, facts: dict[str, object]) -> None:
    fields = {name: str(fact) for name, fact in facts.items()}
    LOGGER.log(level, "tokenledger: %s", visible(sentence), extra={"event": event, "facts": fields})
