"""Why a cost changed: the difference of two periods, split into causes that add up to it."""

from tokenledger_exporter.queries.why.results import Cause, Driver, WhyReport
from tokenledger_exporter.queries.why.steps import WhyRequest, why_steps

__all__ = ["Cause", "Driver", "WhyReport", "WhyRequest", "why_steps"]
