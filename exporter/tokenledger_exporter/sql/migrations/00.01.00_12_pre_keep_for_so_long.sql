-- For how long calls are kept: for ever, until somebody sets it.
-- Release 00.01.00, step 12, safe before the new code runs.

CREATE TABLE token_ledger_retention (
    is_set boolean NOT NULL DEFAULT true,
    keep interval NOT NULL,
    archive_to text NOT NULL DEFAULT '',
    changed_by text NOT NULL DEFAULT CURRENT_USER,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (is_set),
    CONSTRAINT there_is_one CHECK (is_set),
    CONSTRAINT keep_is_a_month_or_more CHECK (keep >= interval '1 month')
);
COMMENT ON TABLE token_ledger_retention IS 'One row, or none: then calls are kept for ever';
COMMENT ON COLUMN token_ledger_retention.is_set IS 'True; keeps it to one row';
COMMENT ON COLUMN token_ledger_retention.keep IS 'A month is let go once all of it is older than this';
COMMENT ON COLUMN token_ledger_retention.archive_to IS 'Folder for the months let go, on the machine that runs retention; empty is none';
COMMENT ON COLUMN token_ledger_retention.changed_by IS 'Database user who set it';
COMMENT ON COLUMN token_ledger_retention.recorded_at IS 'When it was set';

-- The first moment that is kept, or nothing: the start, UTC, of the month the limit falls into.
CREATE FUNCTION token_ledger_horizon() RETURNS timestamptz
LANGUAGE sql STABLE AS $$
    SELECT date_trunc('month', (now() AT TIME ZONE 'UTC') - keep) AT TIME ZONE 'UTC'
    FROM token_ledger_retention
$$;
COMMENT ON FUNCTION token_ledger_horizon() IS 'The first moment calls are kept of; NULL where they are kept for ever';
