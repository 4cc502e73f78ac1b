"""Names of the attributes that hold prompts and answers.

They are separate from `attributes`, whose names the ledger stores: it never stores these. Source:
open-telemetry/semantic-conventions-genai, read 2026-11-22.
"""

from typing import Final

INPUT_MESSAGES: Final = "gen_ai.input.messages"
"""The prompt, as JSON. String. Emitters, if the user asks for it."""

OUTPUT_MESSAGES: Final = "gen_ai.output.messages"
"""The answer, as JSON. String. Like the input messages."""

SYSTEM_INSTRUCTIONS: Final = "gen_ai.system_instructions"
"""The system prompt, as JSON. String. Like the input messages."""

TOOL_DEFINITIONS: Final = "gen_ai.tool.definitions"
"""The tools that a request offers to the model, as JSON. String. Like the input messages."""

CONTENT: Final = (INPUT_MESSAGES, OUTPUT_MESSAGES, SYSTEM_INSTRUCTIONS, TOOL_DEFINITIONS)
"""All of them."""

DETAILS_EVENT: Final = "gen_ai.client.inference.operation.details"
"""Name of the event that holds them and a call's other attributes."""
