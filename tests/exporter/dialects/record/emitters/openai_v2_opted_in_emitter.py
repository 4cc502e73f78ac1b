"""OpenTelemetry's openai-v2, opted in to today's names."""

from __future__ import annotations

import os

os.environ["RECORD_OPT_IN"] = "1"

import openai_v2_emitter  # noqa: F401 - it records when it is imported
