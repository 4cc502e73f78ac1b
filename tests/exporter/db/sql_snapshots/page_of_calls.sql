-- The next calls in time order.
SELECT "event_id", "timestamp", "ended_at", "provider", "model", "request_model", "operation", "input_tokens", "output_tokens", "total_tokens", "cached_tokens", "cache_write_tokens", "reasoning_tokens", "cost_usd", "cost_status", "cost_note", "price_id", "user_id", "session_id", "organization_id", "project", "feature", "team", "cost_center", "agent_id", "endpoint", "app_name", "release", "environment", "status", "error_type", "duration_ms", "time_to_first_token_ms", "trace_id", "span_id", "response_id", "settled", "metadata"
FROM token_ledger_events
WHERE true  AND timestamp >= %(since)s
ORDER BY timestamp, event_id
LIMIT 101
