"""What the ledger logs: one event name a record, one sentence, and the facts as fields.

Each record of logger `tokenledger` has `event` and `facts` beside its text, so that a JSON log can
be searched by them. None holds a value of the app's: no URL, prompt, key or id.
"""

from __future__ import annotations

import logging
from typing import Final

from tokenledger_exporter.plain_text import visible

LOGGER: Final = logging.getLogger("tokenledger")


def warn(event: str, sentence: str, **facts: object) -> None:
    """Log what an operator may want to look at."""
    _log(logging.WARNING, event, sentence, facts)


def fail(event: str, sentence: str, **facts: object) -> None:
    """Log that something is lost."""
    _log(logging.ERROR, event, sentence, facts)


def _log(level: int, event: str, sentence: str, facts: dict[str, object]) -> None:
    told = {name: str(fact) for name, fact in facts.items()}
    LOGGER.log(level, "%s: %s", event, visible(sentence), extra={"event": event, "facts": told})
