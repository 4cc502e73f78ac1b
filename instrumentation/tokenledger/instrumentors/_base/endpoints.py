"""Where a client sends its requests: the provider by the host of its base URL."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from tokenledger._state import RUNTIME
from tokenledger_semconv import attributes as names
from tokenledger_semconv.bounded_cache import BoundedCache
from tokenledger_semconv.provider_hosts import provider_of_host

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opentelemetry.util.types import AttributeValue

_DEFAULT_PORTS: Final = {"https": 443, "http": 80}
_MAX_CLIENTS: Final = 256
_NO_CLASSES: Final[Mapping[str, str]] = {}


def no_attributes(_host: str) -> Mapping[str, AttributeValue]:
    """No attributes: the host's name contains no more information."""
    return {}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a client sends its requests.

    Args:
        address: the host; "" if the client has none.
        port: the port; `None` if the client has none.
        attributes: the attributes of its calls' spans.
    """

    address: str
    port: int | None
    attributes: Mapping[str, AttributeValue]


class Endpoints:
    """The endpoints of an SDK's clients; each is determined once.

    Args:
        sdk_provider: the provider where the host is unknown: loopback, a proxy, a gateway.
        client_classes: class of a client -> the provider it calls.
        host_attributes: reads further attributes from a host's name.
    """

    def __init__(
        self,
        sdk_provider: str,
        client_classes: Mapping[str, str] = _NO_CLASSES,
        host_attributes: Callable[[str], Mapping[str, AttributeValue]] = no_attributes,
    ) -> None:
        self._sdk_provider = sdk_provider
        self._client_classes = client_classes
        self._host_attributes = host_attributes
        # By id, which another client may reuse later: its base URL is another object then.
        self._known: BoundedCache[int, tuple[object, object, Endpoint]] = BoundedCache(_MAX_CLIENTS)

    def of(self, client: Any) -> Endpoint:  # noqa: ANN401 - a client of any release of the SDK
        """The endpoint of a client, by its base URL."""
        # The private name: some clients compute the public one on each access.
        url, settings = client._base_url, RUNTIME.setup.settings  # noqa: SLF001
        known = self._known.get(id(client))
        if known is not None and known[0] is url and known[1] is settings:
            return known[2]
        port = getattr(url, "port", None) or _DEFAULT_PORTS.get(getattr(url, "scheme", ""))
        endpoint = self.at(getattr(url, "host", None), port, self._by_class(client))
        self._known[id(client)] = (url, settings, endpoint)
        return endpoint

    def at(self, host: object, port: int | None, client_provider: str = "") -> Endpoint:
        """The endpoint at a host.

        Args:
            host: its name; anything but text means that there is no host.
            port: its port.
            client_provider: the provider that clients of this class call; "" if unknown.
        """
        if not isinstance(host, str) or not host:
            return Endpoint("", None, {names.PROVIDER_NAME: client_provider or self._sdk_provider})
        provider = (
            provider_of_host(host, RUNTIME.setup.settings.provider_hosts, port)
            or client_provider
            or provider_of_host(host)
            or self._sdk_provider
        )
        attributes: dict[str, AttributeValue] = {
            names.PROVIDER_NAME: provider,
            names.SERVER_ADDRESS: host,
        }
        if port is not None:
            attributes[names.SERVER_PORT] = port
        attributes.update(self._host_attributes(host))
        return Endpoint(host, port, attributes)

    def _by_class(self, client: object) -> str:
        classes = self._client_classes
        bases = (base.__name__ for base in type(client).__mro__)
        return next((classes[name] for name in bases if name in classes), "")
