"""The MCP server: lists the tools, runs them against one snapshot each, and explains errors."""

from __future__ import annotations

import json
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

from anyio import to_thread
from mcp.server.lowlevel import Server
from mcp.types import CallToolResult, ListToolsResult, TextContent, Tool, ToolAnnotations

from tokenledger_exporter.db.shown_sql import collect_sql
from tokenledger_exporter.errors import DatabaseUnreachableError, InvalidRequestError, LedgerError
from tokenledger_exporter.log import warn
from tokenledger_exporter.mcp_server.answer import DATA_NOTE, document_of
from tokenledger_exporter.mcp_server.arguments import ArgumentError
from tokenledger_exporter.mcp_server.tools.budgets import BUDGET_TOOLS
from tokenledger_exporter.mcp_server.tools.calls import CALL_TOOLS
from tokenledger_exporter.mcp_server.tools.costs import COST_TOOLS
from tokenledger_exporter.mcp_server.tools.forecast import FORECAST_TOOL
from tokenledger_exporter.mcp_server.tools.prices import PRICE_TOOLS
from tokenledger_exporter.plain_text import visible

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager

    import psycopg
    from mcp.server.context import ServerRequestContext
    from mcp.types import CallToolRequestParams, PaginatedRequestParams

    from tokenledger_exporter.mcp_server.tools.tool import LedgerTool

    Snapshot = Callable[[str], AbstractContextManager[psycopg.Connection[Any]]]
    OrganizationOf = Callable[[Any], str]
    Note = Callable[[Any, str, Mapping[str, object]], None]

TOOLS: Final = {
    tool.name: tool
    for tool in (*COST_TOOLS, FORECAST_TOOL, *BUDGET_TOOLS, *CALL_TOOLS, *PRICE_TOOLS)
}
"""Every tool by its name."""

_PACKAGE: Final = "tokenledger-otel"
_INSTRUCTIONS: Final = (
    "A ledger of LLM calls and what they cost, read-only. Say the period and the coverage with "
    "every figure: a total without calls of unknown cost is a lower bound. Never treat a null cost "
    f"as 0. {DATA_NOTE}"
)


def create_server(
    snapshot: Snapshot, organization_of: OrganizationOf, note: Note | None = None
) -> Server[Any]:
    """The server.

    Args:
        snapshot: a read-only connection that sees an organization only, or all with "".
        organization_of: the organization of a request, as the transport passes it.
        note: logs what a request is about to read; it gets the request, the tool's name and its
            arguments. An error of the ledger that it raises is the answer.
    """
    return Server(
        "tokenledger",
        version=version(_PACKAGE),
        title="TokenLedger",
        instructions=_INSTRUCTIONS,
        on_list_tools=_list_tools,
        on_call_tool=partial(_call_tool, snapshot, organization_of, note),
    )


async def _list_tools(
    _context: ServerRequestContext[Any], _params: PaginatedRequestParams | None
) -> ListToolsResult:
    hints = ToolAnnotations(
        read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False
    )
    return ListToolsResult(
        tools=[
            Tool(
                name=tool.name,
                title=tool.title,
                description=tool.description,
                input_schema=tool.schema(),
                annotations=hints,
            )
            for tool in TOOLS.values()
        ]
    )


async def _call_tool(
    snapshot: Snapshot,
    organization_of: OrganizationOf,
    note: Note | None,
    context: ServerRequestContext[Any],
    params: CallToolRequestParams,
) -> CallToolResult:
    try:
        tool = _tool(params.name)
        organization = organization_of(context.request)
        if note is not None:
            await to_thread.run_sync(note, context.request, tool.name, params.arguments or {})
        document = await to_thread.run_sync(
            _answer, snapshot, organization, tool, params.arguments or {}
        )
    except LedgerError as error:
        return _failed(_explained(error))
    except Exception as error:  # noqa: BLE001 - the server must stay up
        # The class alone: the text of an error may hold a value of the ledger.
        warn("mcp_tool_failed", f"a tool failed ({type(error).__name__})")
        return _failed("the tool failed; the server's log has the kind of the error")
    text = json.dumps(document, ensure_ascii=False)
    return CallToolResult(
        content=[TextContent(type="text", text=text)], structured_content=document
    )


def _answer(
    snapshot: Snapshot, organization: str, tool: LedgerTool, arguments: Mapping[str, object]
) -> dict[str, Any]:
    with snapshot(organization) as connection, collect_sql() as statements:
        answer = tool.call(connection, arguments)
    return document_of(answer, statements)


def _tool(name: str) -> LedgerTool:
    if name not in TOOLS:
        raise ArgumentError("name", f"unknown tool {name!r:.100}; use one of {', '.join(TOOLS)}")
    return TOOLS[name]


def _explained(error: LedgerError) -> str:
    if isinstance(error, DatabaseUnreachableError):
        return f"the ledger's database cannot be read: {error}; try again when it is back"
    if isinstance(error, InvalidRequestError):
        return str(error)
    return f"the ledger cannot answer: {error}; a shorter period or a filter may help"


def _failed(message: str) -> CallToolResult:
    return CallToolResult(content=[TextContent(type="text", text=visible(message))], is_error=True)
