"""Differences between the supported releases of the SDKs that the tests need to know."""

from __future__ import annotations

import importlib
import inspect
from typing import TYPE_CHECKING, Any, cast

import anthropic
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from support.sdk_calls import Sdk


def sync_http_client(sdk: ModuleType, **settings: object) -> Sdk:
    """An HTTP client of the class that an SDK uses; the oldest releases export no such class."""
    made = getattr(sdk, "DefaultHttpxClient", None)
    return (made or importlib.import_module("httpx").Client)(**settings)


def async_http_client(sdk: ModuleType, **settings: object) -> Sdk:
    """The same, for an async client."""
    made = getattr(sdk, "DefaultAsyncHttpxClient", None)
    return (made or importlib.import_module("httpx").AsyncClient)(**settings)


def http_module(sdk: ModuleType) -> Any:  # noqa: ANN401 - httpx or httpx2
    """The HTTP library that an SDK uses."""
    bases = type(sync_http_client(sdk)).__mro__
    name = next(base.__module__ for base in bases if base.__module__.startswith("httpx"))
    return importlib.import_module(name.partition(".")[0])


def needs_argument(method: object, name: str) -> None:
    """Skip the test if this release of the SDK has no such argument."""
    if name not in inspect.signature(cast("Callable[..., object]", method)).parameters:
        pytest.skip("this release of the SDK has no such argument")


def needs_thinking(method: str) -> None:
    """Skip if the SDK's own stream helper fails on the thinking that the provider sends."""
    if method.endswith("messages.stream") and not hasattr(anthropic.types, "ThinkingBlock"):
        pytest.skip("this release of the SDK cannot read thinking")


def fields_sent(answer: Sdk) -> dict[str, Any]:
    """The fields of an answer as the provider sent them."""
    sent: dict[str, Any] = answer.model_dump(mode="json", exclude_unset=True)
    return sent


def modelled(module: str, name: str, fields: dict[str, Any]) -> Any:  # noqa: ANN401
    """An answer as an SDK's own object; the plain fields if the SDK has no such class yet."""
    try:
        model = getattr(importlib.import_module(module), name)
    except ModuleNotFoundError:
        return fields
    return model.model_validate(fields)
