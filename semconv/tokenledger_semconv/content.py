"""Names of the attributes that hold what was said.

They stand apart from `attributes`, whose names the ledger keeps: these it never keeps. Source:
open-telemetry/semantic-conventions-genai, read 2026-11-22.
"""

from typing import Final

INPUT_MESSAGES: Final = "gen_ai.input.messages"
"""What was asked, as JSON. String. Emitters, where the user asks for it."""

OUTPUT_MESSAGES: Final = "gen_ai.output.messages"
"""What was answered, as JSON. String. As the input messages."""

SYSTEM_INSTRUCTIONS: Final = "gen_ai.system_instructions"
"""What the model was told beforehand, as JSON. String. As the input messages."""
