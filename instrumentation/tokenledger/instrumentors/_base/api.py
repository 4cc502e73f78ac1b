"""What is known about one SDK: its APIs, its endpoints, and templates of its recurring requests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from tokenledger._attribution.layers import clean
from tokenledger._state import RUNTIME
from tokenledger.instrumentors._base.message_content import with_content
from tokenledger_semconv import attributes as names
from tokenledger_semconv.bounded_cache import BoundedCache

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opentelemetry.util.types import AttributeValue

    from tokenledger._calls.tracer import CallTracer
    from tokenledger.instrumentors._base.api_shape import Shape
    from tokenledger.instrumentors._base.endpoints import Endpoint, Endpoints
    from tokenledger_semconv.settings import Settings

_MAX_TEMPLATES: Final = 1_024


class OtherAnswerReader(Protocol):
    """Reads the answers of an SDK that are not a model call themselves."""

    def __call__(
        self,
        tracer: CallTracer,
        endpoint: Callable[[], Endpoint],
        options: Any,  # noqa: ANN401 - of any release of the SDK
        answer: Any,  # noqa: ANN401
    ) -> None:
        """Read an answer, like a file of batch results or a response fetched again."""
        ...


class RequestTemplate(NamedTuple):
    """What all requests of one client to one path for one model have in common.

    Args:
        base_url: the client's base URL object, which identifies the client.
        settings: the settings in effect when this was made.
        shape: the API.
        endpoint: where the request goes.
        start_attributes: what a call's span holds at its start, for samplers. Do not modify.
        end_attributes: what is added to it with the answer.
    """

    base_url: object
    settings: Settings
    shape: Shape
    endpoint: Endpoint
    start_attributes: Mapping[str, AttributeValue]
    end_attributes: Mapping[str, AttributeValue]


class Api:
    """What is known about one SDK.

    Args:
        shapes: path -> the model call that is made there.
        endpoints: where its clients send their requests.
        read_other_answer: reads the answers of all other paths.
    """

    __slots__ = ("_plain", "_shapes", "endpoints", "read_other_answer", "templates")

    def __init__(
        self,
        shapes: Mapping[str, Shape],
        endpoints: Endpoints,
        read_other_answer: OtherAnswerReader,
    ) -> None:
        self._plain = shapes
        self._shapes = shapes
        # By client, path and model. Another client may reuse the id; its base URL differs then.
        self.templates: BoundedCache[tuple[int, str, str], RequestTemplate] = BoundedCache(
            _MAX_TEMPLATES
        )
        self.endpoints = endpoints
        self.read_other_answer = read_other_answer

    def capture_content(self, *, enabled: bool) -> None:
        """Put messages on the spans from now on, or stop doing so."""
        plain = self._plain
        self._shapes = {path: with_content(plain[path]) for path in plain} if enabled else plain
        self.templates = BoundedCache(_MAX_TEMPLATES)

    def make_template(self, client: Any, url: str, model: str) -> RequestTemplate | None:  # noqa: ANN401
        """Make and remember a request's template; `None` if it is not a model call."""
        shape = self._shapes.get(url) or self._shape_at(client, url)
        if shape is None:
            return None
        endpoint = self.endpoints.of(client)
        start = {
            **endpoint.attributes,
            names.OPERATION_NAME: shape.attributes[names.OPERATION_NAME],
        }
        if model:
            start[names.REQUEST_MODEL] = clean(model)
        end = {name: value for name, value in shape.attributes.items() if name not in start}
        settings = RUNTIME.setup.settings
        template = RequestTemplate(client._base_url, settings, shape, endpoint, start, end)  # noqa: SLF001
        self.templates[id(client), url, model] = template
        return template

    def _shape_at(self, client: Any, url: str) -> Shape | None:  # noqa: ANN401
        """The API of a path the app wrote itself, like `client.post("chat/completions")`."""
        path = url.removeprefix(str(getattr(client, "_base_url", "")))
        known = self._shapes.get(f"/{path.lstrip('/')}")
        return known or self._shapes.get(f"/{path.partition('?')[0].lstrip('/')}")
