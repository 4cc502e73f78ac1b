"""OpenLIT."""

from __future__ import annotations

import os

os.environ["ANTHROPIC_OPEN_TELEMETRY"] = "false"

import calls
import openlit
import spans

spans.install()
openlit.init(disable_metrics=True, service_name="shop")
calls.openai_calls()
calls.anthropic_calls()
calls.bedrock_call()
spans.write("openlit", "openai", "anthropic")
