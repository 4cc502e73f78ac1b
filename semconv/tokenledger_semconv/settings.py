"""Every option of `configure()`, with its default, its environment variable and its meaning.

Precedence: argument > `TOKENLEDGER_<OPTION>` > `OTEL_PYTHON_TOKENLEDGER_<OPTION>` (what
`opentelemetry-instrument --tokenledger_<option>` sets) > the named fall-backs > default.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Final, cast

if TYPE_CHECKING:
    from collections.abc import Callable

ENVIRONMENT_PREFIX: Final = "TOKENLEDGER_"
"""`TOKENLEDGER_BATCH_SIZE` sets `batch_size`, and so on for every option."""

LAUNCHER_PREFIX: Final = "OTEL_PYTHON_TOKENLEDGER_"
"""`opentelemetry-instrument` makes flags of `OTEL_*` names only, so each option has this twin."""

MAX_BATCH_SIZE: Final = 100_000
"""Rows per COMMIT an operator may ask for; a batch is held in memory while it is written."""

_FALL_BACKS: Final[Mapping[str, str]] = {
    "database_url": "DATABASE_URL",
    "app_name": "OTEL_SERVICE_NAME",
}


class SettingsError(ValueError):
    """An option has a value it cannot take; the message names the option and what it takes."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What `configure()` was told, or the environment says.

    Args:
        database_url: Postgres connection string; "" if none was given.
        app_name: fills `app_name`; "" leaves it to the resource's `service.name`.
        environment: fills `environment`; "" leaves it to `deployment.environment.name`.
        batch_size: rows per COMMIT, at most; 1 to 100,000.
        flush_interval_seconds: age at which a waiting row is written at the latest; above 0.
        async_mode: False makes a call return only after its row is committed (or spooled, if the
            database is away).
        sample_rate: share of traces recorded by the app's tracing, 0.0 to 1.0; never money.
        default_metadata: attribution of every call that says nothing else.
        agent_id: the agent every call belongs to unless it says otherwise.
        tags: more default metadata, under the name another tracker uses; wins over it.
        enabled: False patches nothing and opens nothing.
        debug: print one line a call to standard error.
        spool_dir: folder of the crash-safe spool; "" is the user's state folder.
        stream_usage: False never asks an OpenAI chat stream for its usage.
        provider_hosts: host -> provider, for hosts the instrumentors do not know or name otherwise.
        buffer_size: calls kept in memory while the spool's disk takes none; 1 or more.
        max_retries: retries after growing pauses, before the longest pause is all there is.
        retry_backoff_base: seconds before the first retry; each further pause is twice as long.
        retry_backoff_max: seconds no pause exceeds while the circuit is closed.
        circuit_breaker_threshold: failures in a row that open the circuit; 1 or more.
        circuit_breaker_timeout: seconds an open circuit leaves the database in peace.
    """

    database_url: str = field(default="", repr=False)
    app_name: str = ""
    environment: str = ""
    batch_size: int = 100
    flush_interval_seconds: float = 5.0
    async_mode: bool = True
    sample_rate: float = 1.0
    default_metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])
    agent_id: str = ""
    tags: Mapping[str, Any] = field(default_factory=dict[str, Any])
    enabled: bool = True
    debug: bool = False
    spool_dir: str = ""
    stream_usage: bool = True
    provider_hosts: Mapping[str, Any] = field(default_factory=dict[str, Any])
    buffer_size: int = 10_000
    max_retries: int = 3
    retry_backoff_base: float = 1.0
    retry_backoff_max: float = 30.0
    circuit_breaker_threshold: int = 5
    circuit_breaker_timeout: float = 60.0

    def __post_init__(self) -> None:
        if not 1 <= self.batch_size <= MAX_BATCH_SIZE:
            raise SettingsError(f"batch_size is {self.batch_size}: give 1 to {MAX_BATCH_SIZE} rows")
        if not 0 <= self.sample_rate <= 1:
            raise SettingsError(f"sample_rate is {self.sample_rate}: give a share, 0.0 to 1.0")
        for option, least in _LEAST.items():
            if getattr(self, option) < least:
                raise SettingsError(f"{option} is {getattr(self, option)}: give {least} or more")
        for option in _SECONDS:
            if not getattr(self, option) > 0:
                raise SettingsError(f"{option} is {getattr(self, option)}: give seconds above 0")


ALIASES: Final[Mapping[str, str]] = {"flush_batch_size": "batch_size"}
"""Names another tracker has for an option; the option's own name wins."""

OPTIONS: Final = tuple(option.name for option in fields(Settings))
"""The option names, in the order of `Settings`."""


def environment_variable(option: str) -> str:
    """The environment variable that sets an option."""
    return ENVIRONMENT_PREFIX + option.upper()


def launcher_variable(option: str) -> str:
    """The variable behind `opentelemetry-instrument --tokenledger_<option>`."""
    return LAUNCHER_PREFIX + option.upper()


def read_settings(
    arguments: Mapping[str, object] | None = None, environ: Mapping[str, str] | None = None
) -> Settings:
    """Settle every option from arguments, environment and defaults.

    Args:
        arguments: options given in code; `None` values count as not given.
        environ: the environment; `os.environ` if `None`.

    Raises:
        SettingsError: an option is unknown or has a value it cannot take.
    """
    environ = os.environ if environ is None else environ
    given = {name: value for name, value in (arguments or {}).items() if value is not None}
    for alias, option in ALIASES.items():
        if alias in given:
            value = given.pop(alias)
            given.setdefault(option, value)
    if unknown := given.keys() - set(OPTIONS):
        raise SettingsError(
            f"unknown option {', '.join(sorted(unknown))}: the options are {', '.join(OPTIONS)}"
        )
    values: dict[str, Any] = {}
    for option in OPTIONS:
        if option in given:
            values[option] = _checked(option, given[option])
        elif (text := _environment_text(option, environ)) is not None:
            values[option] = _PARSERS.get(option, _text)(option, text)
    return Settings(**values)


def _environment_text(option: str, environ: Mapping[str, str]) -> str | None:
    own = (option, *(alias for alias, meant in ALIASES.items() if meant == option))
    named = [
        variable(name) for name in own for variable in (environment_variable, launcher_variable)
    ]
    names = (*named, _FALL_BACKS.get(option))
    return next((environ[name] for name in names if name and environ.get(name)), None)


def _checked(option: str, value: object) -> object:
    """A value given in code, refused where its type is not the option's."""
    if option in _NUMBERS and (isinstance(value, bool) or not isinstance(value, (int, float))):
        raise SettingsError(f"{option} is {value!r}: give a number")
    if option in _WHOLE_NUMBERS and not isinstance(value, int):
        raise SettingsError(f"{option} is {value!r}: give a whole number")
    if option in _FLAGS and not isinstance(value, bool):
        raise SettingsError(f"{option} is {value!r}: give True or False")
    if option not in _MAPPINGS:
        return value
    if not isinstance(value, Mapping):
        raise SettingsError(f"{option} is a {type(value).__name__}: give a dict")
    return dict(cast("Mapping[str, object]", value))


def _text(_option: str, text: str) -> str:
    return text


def _whole(option: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise SettingsError(f"{option} is {text!r}: give a whole number") from None


def _number(option: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise SettingsError(f"{option} is {text!r}: give a number") from None


def _flag(option: str, text: str) -> bool:
    flags = {"1": True, "true": True, "yes": True, "on": True}
    flags |= {"0": False, "false": False, "no": False, "off": False}
    try:
        return flags[text.strip().lower()]
    except KeyError:
        raise SettingsError(f"{option} is {text!r}: give true or false") from None


def _mapping(option: str, text: str) -> dict[str, Any]:
    """JSON object, or the `key=value,key=value` list OpenTelemetry variables use."""
    if text.lstrip().startswith("{"):
        try:
            return dict(json.loads(text))
        except ValueError:
            raise SettingsError(f"{option} is not valid JSON: give an object") from None
    pairs = [pair.partition("=") for pair in text.split(",") if pair.strip()]
    if not all(separator for _, separator, _ in pairs):
        raise SettingsError(f"{option} is {text!r}: give key=value,key=value or a JSON object")
    return {key.strip(): value.strip() for key, _, value in pairs}


_LEAST: Final = {"buffer_size": 1, "max_retries": 0, "circuit_breaker_threshold": 1}
_SECONDS: Final = (
    *("flush_interval_seconds", "retry_backoff_base", "retry_backoff_max"),
    "circuit_breaker_timeout",
)
_WHOLE_NUMBERS: Final = ("batch_size", *_LEAST)
_NUMBERS: Final = (*_WHOLE_NUMBERS, *_SECONDS, "sample_rate")
_FLAGS: Final = ("async_mode", "enabled", "debug", "stream_usage")
_MAPPINGS: Final = ("default_metadata", "tags", "provider_hosts")
_PARSERS: Final[Mapping[str, Callable[[str, str], object]]] = {
    **dict.fromkeys(_NUMBERS, _number),
    **dict.fromkeys(_WHOLE_NUMBERS, _whole),
    **dict.fromkeys(_FLAGS, _flag),
    **dict.fromkeys(_MAPPINGS, _mapping),
}
