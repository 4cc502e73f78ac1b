"""The mistralai SDK's own spans."""

from __future__ import annotations

import calls
import spans

spans.install()
calls.mistral_call()
spans.write("mistralai")
