"""Calls of three traces and one session, with what they cost."""

from __future__ import annotations

from typing import Final

HIGH, LOW, FAILED = "a" * 32, "b" * 32, "c" * 32
"""Ids of traces: $0.75 and a part without a price; $0.10; a call of unknown cost."""

RUN_ROWS: Final = f"""
INSERT INTO token_ledger_events
    (event_id, timestamp, ended_at, provider, model, user_id, session_id, trace_id, span_id,
     cost_status, cost_usd, total_tokens, status, error_type, duration_ms, ancestors)
SELECT
    ('00000000-0000-0000-0000-00000000000' || number)::uuid, now() - interval '1 hour' + start,
    now() - interval '1 hour' + start + interval '2 seconds', 'openai', 'gpt-4o', user_id,
    session_id, trace_id, span_id, status_of_cost, cost, 10, status, '', took, ancestors::uuid[]
FROM (VALUES
    (1, interval '0', 'ann', 'talk/1', '{HIGH}', 's1', 'priced', 0.5, 'success', 2000, '{{}}'),
    (2, interval '1 second', 'ann', 'talk/1', '{HIGH}', 's2', 'priced', 0.25, 'success', 1000,
     '{{00000000-0000-0000-0000-000000000001}}'),
    -- A part of the second call, billed at another rate.
    (3, interval '1 second', 'ann', 'talk/1', '{HIGH}', 's2', 'unpriced', NULL, 'success', NULL,
     '{{00000000-0000-0000-0000-000000000001}}'),
    (4, interval '10 minutes', 'bob', 'talk/1', '{LOW}', 's3', 'priced', 0.1, 'success', 100,
     '{{}}'),
    (5, interval '20 minutes', '', '', '{FAILED}', 's4', 'unmeasured', NULL, 'error', 100, '{{}}')
) AS calls (
    number, start, user_id, session_id, trace_id, span_id, status_of_cost, cost, status, took,
    ancestors
)
"""
