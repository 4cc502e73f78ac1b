"""Scripts, styles and pictures of the pages: kept by a browser until their content changes."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Final

from starlette.staticfiles import StaticFiles
from typing_extensions import override

if TYPE_CHECKING:
    import os

    from starlette.responses import Response
    from starlette.types import Scope

_PACKAGE: Final = "tokenledger_exporter.web"
_FOLDER: Final = "static"
_VERSION: Final = "v"
_DIGITS: Final = 12
_FOREVER: Final = "public, max-age=31536000, immutable"


@cache
def address_of(name: str) -> str:
    """The address of a file, with a hash of its content: another content is another address.

    Args:
        name: its path below the folder of static files.
    """
    content = (files(_PACKAGE) / _FOLDER / name).read_bytes()
    version = hashlib.blake2b(content, digest_size=_DIGITS // 2).hexdigest()
    return f"/{_FOLDER}/{name}?{_VERSION}={version}"


class VersionedFiles(StaticFiles):
    """The files; one that is asked for with its version does not change."""

    def __init__(self) -> None:
        super().__init__(packages=[(_PACKAGE, _FOLDER)])

    @override
    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        query: bytes = scope["query_string"]
        if query and f"/{_FOLDER}/{path}?{query.decode('latin-1')}" == _known(path):
            response.headers["Cache-Control"] = _FOREVER
        return response


def _known(path: str | os.PathLike[str]) -> str:
    try:
        return address_of(str(path))
    except OSError:
        return ""
