"""An app's own metrics in memory, and what they say in plain values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import Metric


class AppMetrics:
    """An app's own meter provider; its reader stands for the app's backend."""

    def __init__(self) -> None:
        self._reader = InMemoryMetricReader()
        self.provider = MeterProvider([self._reader], shutdown_on_exit=False)

    def collect(self) -> list[Metric]:
        """The metrics of our scopes."""
        data = self._reader.get_metrics_data()
        return [
            metric
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            if scope.scope.name.startswith("tokenledger.")
            for metric in scope.metrics
        ]

    def points(self) -> dict[str, list[Any]]:
        """The data points of each metric, of all scopes."""
        points: dict[str, list[Any]] = {}
        for metric in self.collect():
            points.setdefault(metric.name, []).extend(metric.data.data_points)
        return points
