"""The vendors' error bodies and headers, by HTTP status.

Shapes, read 2026-11-22: docs.claude.com/en/api/errors (types, `request_id`), the errors quoted in
public issues for OpenAI, and what openai 3.54 and anthropic 2.12 read of either. Programs read the
type and the code; the messages only resemble the vendors'. `retry-after-ms` is read
by both SDKs before `retry-after` and is short here, so that a retry costs a test no second.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tokenledger_exporter.demo.wire import Answer, Event, letters

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tokenledger_exporter.demo.wire import JsonObject

_SERVER_ERROR: Final = {
    "message": "The server had an error while processing your request. Sorry about that!",
    "type": "server_error",
    "param": None,
    "code": None,
}
_OPENAI: Final[Mapping[int, JsonObject]] = {
    400: {
        "message": "Invalid type for 'temperature': expected a decimal, but got a string instead.",
        "type": "invalid_request_error",
        "param": "temperature",
        "code": "invalid_type",
    },
    401: {
        "message": "Incorrect API key provided: sk-demo. You can find your API key at "
        "https://platform.openai.com/account/api-keys.",
        "type": "invalid_request_error",
        "param": None,
        "code": "invalid_api_key",
    },
    404: {
        "message": "The model `demo` does not exist or you do not have access to it.",
        "type": "invalid_request_error",
        "param": None,
        "code": "model_not_found",
    },
    429: {
        "message": "Rate limit reached for demo in organization org-demo on tokens per min (TPM): "
        "Limit 30000, Used 29480, Requested 1212. Please try again in 1.384s. Visit "
        "https://platform.openai.com/account/rate-limits to learn more.",
        "type": "tokens",
        "param": None,
        "code": "rate_limit_exceeded",
    },
    500: _SERVER_ERROR,
    503: {
        "message": "The engine is currently overloaded, please try again later",
        "type": "server_error",
        "param": None,
        "code": None,
    },
}
_ANTHROPIC: Final[Mapping[int, tuple[str, str]]] = {
    400: ("invalid_request_error", "max_tokens: Field required"),
    401: ("authentication_error", "invalid x-api-key"),
    403: ("permission_error", "Your API key does not have permission to use this resource."),
    404: ("not_found_error", "model: demo"),
    413: ("request_too_large", "Request exceeds the maximum size"),
    429: (
        "rate_limit_error",
        "Number of request tokens has exceeded your per-minute rate limit",
    ),
    500: ("api_error", "Internal server error"),
    529: ("overloaded_error", "Overloaded"),
}
_AZURE: Final[Mapping[int, str]] = {
    401: "Access denied due to invalid subscription key or wrong API endpoint. Make sure to "
    "provide a valid key for an active subscription and use a correct regional API endpoint "
    "for your resource.",
    404: "Resource not found",
    429: "Requests to the ChatCompletions_Create Operation under Azure OpenAI API have exceeded "
    "the token rate limit of your current pricing tier. Please retry after 1 second.",
    500: "The server had an error while processing your request. Sorry about that!",
}
_RETRIED: Final = (429, 500, 503, 529)


def refusal(vendor: str, status: int) -> Answer:
    """The vendor's answer of this status, body and headers; an unnamed one looks like its 500."""
    headers = {"retry-after": "1", "retry-after-ms": "5"} if status in _RETRIED else {}
    return Answer(_body(vendor, status), status=status, headers=headers)


def context_too_long(limit: int, counted: int) -> Answer:
    """OpenAI's refusal of a prompt beyond the model's window; nothing is billed for it."""
    message = (
        f"This model's maximum context length is {limit} tokens. However, your messages resulted "
        f"in {counted} tokens. Please reduce the length of the messages."
    )
    error: dict[str, Any] = {"message": message, "type": "invalid_request_error"}
    error |= {"param": "messages", "code": "context_length_exceeded"}
    return Answer({"error": error}, status=400)


def unknown_path(vendor: str, method: str, path: str) -> Answer:
    """What a vendor answers on a path it does not serve."""
    if vendor == "anthropic":
        error = {"type": "not_found_error", "message": "Not Found"}
        return Answer({"type": "error", "error": error, **_request_id()}, status=404)
    error = {"message": f"Invalid URL ({method} {path})", "type": "invalid_request_error"}
    return Answer({"error": {**error, "param": None, "code": None}}, status=404)


def stream_failure(vendor: str, endpoint: str, sequence: int) -> Event:
    """The event that reports an error in the middle of a stream that began with 200."""
    if vendor == "anthropic":
        kind, message = _ANTHROPIC[529]
        error: dict[str, Any] = {"details": None, "type": kind, "message": message}
        return Event("error", {"type": "error", "error": error, **_request_id()})
    if endpoint == "responses":
        data = {"type": "error", "sequence_number": sequence, "code": "server_error"}
        return Event("error", {**data, "message": _SERVER_ERROR["message"], "param": None})
    return Event(None, {"error": _SERVER_ERROR})


def _body(vendor: str, status: int) -> JsonObject:
    if vendor == "anthropic":
        kind, message = _ANTHROPIC.get(status, _ANTHROPIC[500])
        return {"type": "error", "error": {"type": kind, "message": message}, **_request_id()}
    if vendor == "azure" and status in _AZURE:
        return {"error": {"code": str(status), "message": _AZURE[status]}}
    return {"error": _OPENAI.get(status, _SERVER_ERROR)}


def _request_id() -> dict[str, str]:
    return {"request_id": f"req_01{letters(22)}"}
