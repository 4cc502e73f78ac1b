-- Pages of calls in the order of time, and the range of a day, without reading a whole month.
-- Release 00.01.00, step 10, safe before the new code runs.

-- Rows come nearly in this order, so the index grows at its right edge.
CREATE INDEX token_ledger_events_page ON token_ledger_events (timestamp, event_id);
