-- What kind of cost a row had before and after, so that a report can stand as of an earlier time.
-- Release 00.01.00, step 04, safe before the new code runs: nothing wrote repricings before it.

ALTER TABLE token_ledger_repricings
    ADD COLUMN old_cost_status text NOT NULL DEFAULT 'unpriced',
    ADD COLUMN new_cost_status text NOT NULL DEFAULT 'unpriced';

COMMENT ON COLUMN token_ledger_repricings.old_cost_status IS 'cost_status before';
COMMENT ON COLUMN token_ledger_repricings.new_cost_status IS 'cost_status after';

-- A report as of a time, and the history of one row.
CREATE INDEX token_ledger_repricings_event ON token_ledger_repricings (event_id, recorded_at);
