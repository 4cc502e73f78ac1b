"""The tools of coding agents as a part of the dashboard's service, behind the same gate."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, cast

from tokenledger_exporter.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from tokenledger_exporter.web.mounted import MountedApp
    from tokenledger_exporter.web.options import DashboardOptions

PATH: Final = "/mcp"
"""Where agents send their requests."""


def mounted_mcp(options: DashboardOptions) -> MountedApp:
    """The application at `PATH`. A token's organization limits it as it limits the pages.

    Raises:
        InvalidRequestError: the SDK is not installed.
    """
    try:
        from tokenledger_exporter.mcp_server.http import McpApp
    except ModuleNotFoundError as error:
        raise InvalidRequestError(
            f"--mcp needs {error.name}: pip install 'tokenledger-otel[mcp]'"
        ) from None
    from tokenledger_exporter.queries.reader import Reader
    from tokenledger_exporter.web.audit import Audit
    from tokenledger_exporter.web.gate import ORGANIZATION
    from tokenledger_exporter.web.mounted import MountedApp
    from tokenledger_exporter.web.sign_in.viewer import viewer_of

    reader = Reader(options.database_url, timeout_seconds=options.timeout_seconds)

    def organization_of(scope: Any) -> str:  # noqa: ANN401 - an ASGI scope
        return str(scope[ORGANIZATION])

    def note(scope: Any, tool: str, arguments: Mapping[str, object]) -> None:  # noqa: ANN401 - an ASGI scope
        audit.note(viewer_of(scope), f"{PATH} {tool}", _as_parameters(arguments))

    audit = Audit(options.database_url)
    app = McpApp(reader.snapshot, organization_of, note)

    @asynccontextmanager
    async def running() -> AsyncGenerator[None]:
        async with app.running():
            yield
        reader.close()
        audit.close()

    return MountedApp(PATH, app, running)


def _as_parameters(arguments: Mapping[str, object]) -> dict[str, object]:
    """The arguments of a tool as the parameters of a page: filters are `DIMENSION=VALUE`."""
    where = arguments.get("where")
    filters: list[str] = []
    if isinstance(where, dict):
        for name, value in cast("dict[str, object]", where).items():
            values = cast("list[object]", value) if isinstance(value, list) else [value]
            filters += [f"{name}={each}" for each in values]
    return {**arguments, "where": filters}
