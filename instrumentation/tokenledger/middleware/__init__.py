"""Web middleware: attributes a request's model calls by what the request says.

    app.add_middleware(FastAPIMiddleware)            # any ASGI app
    TokenLedger(app)                                 # Flask
    MIDDLEWARE = ["tokenledger.middleware.DjangoMiddleware", ...]

`attribution(...)` in the request's code wins over the request itself. The user is read from a
header that anyone can send: let your gateway set it, or pass a function that knows the user. Each
framework is loaded by the app that uses it, never by `import tokenledger`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tokenledger.middleware.asgi import FastAPIMiddleware
    from tokenledger.middleware.django_requests import DjangoMiddleware
    from tokenledger.middleware.flask_requests import TokenLedger

__all__ = ["DjangoMiddleware", "FastAPIMiddleware", "TokenLedger"]

_MODULES: Final = {
    "DjangoMiddleware": "tokenledger.middleware.django_requests",
    "FastAPIMiddleware": "tokenledger.middleware.asgi",
    "TokenLedger": "tokenledger.middleware.flask_requests",
}


def __getattr__(name: str) -> object:
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(importlib.import_module(module), name)
    return value
