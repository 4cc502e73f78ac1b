"""The demo's fake provider: it answers like OpenAI and Anthropic, or fails as scripted."""

from tokenledger_exporter.demo.provider import DemoProvider
from tokenledger_exporter.demo.scripts import Cut, FailStream, Recorded, Refuse, Stall
from tokenledger_exporter.demo.wire import Event

__all__ = ["Cut", "DemoProvider", "Event", "FailStream", "Recorded", "Refuse", "Stall"]
