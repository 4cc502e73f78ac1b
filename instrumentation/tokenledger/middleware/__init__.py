"""Web middleware: whom a request's model calls are made for, read off the request.

    app.add_middleware(FastAPIMiddleware)            # any ASGI app
    TokenLedger(app)                                 # Flask
    MIDDLEWARE = ["tokenledger.middleware.DjangoMiddleware", ...]

What a request says is weaker than `attribution(...)` in the code behind it. The user is taken from
a header that anybody can send: let your gateway set it, or name a function that knows the user.
Each framework is loaded by the app that uses it, never by `import tokenledger`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tokenledger.middleware.asgi import FastAPIMiddleware
    from tokenledger.middleware.django_requests import DjangoMiddleware
    from tokenledger.middleware.flask_requests import TokenLedger

__all__ = ["DjangoMiddleware", "FastAPIMiddleware", "TokenLedger"]

_HOMES: Final = {
    "DjangoMiddleware": "tokenledger.middleware.django_requests",
    "FastAPIMiddleware": "tokenledger.middleware.asgi",
    "TokenLedger": "tokenledger.middleware.flask_requests",
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found: object = getattr(importlib.import_module(home), name)
    return found
