"""Sends one message to one target, within a time limit: through our webhook or through apprise."""

from __future__ import annotations

import importlib.util
import logging
import threading
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from tokenledger_exporter.alerts import webhook
from tokenledger_exporter.alerts.targets import DEFAULT_SECRET, TargetError, is_webhook, resolve
from tokenledger_exporter.alerts.webhook import MayHaveArrivedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tokenledger_exporter.alerts.message import Message

SECONDS: Final = 10.0
"""The longest time that one delivery takes."""

_INSTALL: Final = (
    "this target needs apprise: run pip install 'tokenledger-otel[alerts]' where messages are sent"
)


def send(target: str, secret: str, message: Message, seconds: float = SECONDS) -> None:
    """Send a message to a target.

    Args:
        target: a reference, or a webhook without credentials.
        secret: reference of the key that signs webhooks; "" is `DEFAULT_SECRET`.
        message: the message.
        seconds: the longest time to wait.

    Raises:
        TargetError: it did not arrive; `MayHaveArrivedError` if that is not certain.
    """
    url = resolve(target)
    if is_webhook(url):
        key = webhook.key_of(secret or DEFAULT_SECRET)
        _within(seconds, partial(webhook.post, url, key, message, seconds))
    else:
        check_apprise(url)
        _within(seconds, partial(_notify, url, message))


def check_apprise(url: str) -> None:
    """Check that apprise is installed and knows a URL.

    Raises:
        TargetError: it is not, or does not; the text does not hold the URL.
    """
    if importlib.util.find_spec("apprise") is None:
        raise TargetError(_INSTALL)
    import apprise  # noqa: PLC0415 - optional, and it takes half a second

    # Its log records may hold parts of URLs.
    logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)
    services: Any = apprise.Apprise()
    if not services.add(url):
        raise TargetError(
            "apprise does not know this kind of URL, or it is incomplete: see "
            "https://github.com/caronc/apprise/wiki"
        )


def _notify(url: str, message: Message) -> None:
    import apprise  # noqa: PLC0415 - optional, and it takes half a second

    services: Any = apprise.Apprise()
    services.add(url)
    sent = services.notify(
        title=message.title, body=message.text, body_format=apprise.NotifyFormat.TEXT
    )
    if not sent:
        raise TargetError("the target did not accept the message")


def _within(seconds: float, work: Callable[[], None]) -> None:
    """Do work in a thread and wait for its end, but no longer than the time limit."""
    failures: list[TargetError] = []
    thread = threading.Thread(
        target=_run, args=(work, failures), name="tokenledger-alert", daemon=True
    )
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise MayHaveArrivedError(f"the target did not answer within {seconds:g} seconds")
    if failures:
        raise failures[0]


def _run(work: Callable[[], None], failures: list[TargetError]) -> None:
    try:
        work()
    except TargetError as error:
        failures.append(error)
    except Exception as error:  # noqa: BLE001 - its text may hold the URL, so only its type is said
        failures.append(MayHaveArrivedError(f"unexpected {type(error).__name__} while sending"))
