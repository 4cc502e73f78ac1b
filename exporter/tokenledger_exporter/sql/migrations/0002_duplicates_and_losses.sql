-- Where reports go that are not calls of the ledger: duplicates, conflicts, rejected rows, losses; and
-- what deduplication needs to find them.

CREATE TABLE token_ledger_duplicates (
    event_id uuid NOT NULL,
    winner_event_id uuid NOT NULL,
    reason text NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    event jsonb NOT NULL,
    timestamp timestamptz NOT NULL DEFAULT now(),
    response_id text NOT NULL DEFAULT '',
    copied_fields text[] NOT NULL DEFAULT '{}',
    PRIMARY KEY (event_id)
);
COMMENT ON TABLE token_ledger_duplicates IS 'Further reports of calls that another row already describes; never part of a sum';
COMMENT ON COLUMN token_ledger_duplicates.event_id IS 'Identity of the duplicate report';
COMMENT ON COLUMN token_ledger_duplicates.winner_event_id IS 'Row of token_ledger_events that represents the call';
COMMENT ON COLUMN token_ledger_duplicates.reason IS 'Rule that found the duplicate';
COMMENT ON COLUMN token_ledger_duplicates.recorded_at IS 'When the report was moved here';
COMMENT ON COLUMN token_ledger_duplicates.event IS 'The whole row as it would have been stored';
COMMENT ON COLUMN token_ledger_duplicates.timestamp IS 'When the call started according to this report';
COMMENT ON COLUMN token_ledger_duplicates.response_id IS 'The provider''s id of the response according to this report';
COMMENT ON COLUMN token_ledger_duplicates.copied_fields IS 'Columns and metadata keys that the winner lacked and copied from this report';
CREATE INDEX token_ledger_duplicates_response ON token_ledger_duplicates (response_id COLLATE "C", timestamp)
WHERE length(response_id) >= 20;
CREATE INDEX token_ledger_duplicates_winner ON token_ledger_duplicates (winner_event_id);
CREATE INDEX token_ledger_duplicates_time ON token_ledger_duplicates (timestamp);

CREATE TABLE token_ledger_conflicts (
    event_id uuid NOT NULL,
    usage_hash bytea NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    event jsonb NOT NULL,
    PRIMARY KEY (event_id, usage_hash)
);
COMMENT ON TABLE token_ledger_conflicts IS 'Rows whose event_id is already in the ledger with other billing fields; never merged silently';
COMMENT ON COLUMN token_ledger_conflicts.event_id IS 'Identity that both rows claim';
COMMENT ON COLUMN token_ledger_conflicts.usage_hash IS 'Hash of the billing fields of the row stored here';
COMMENT ON COLUMN token_ledger_conflicts.recorded_at IS 'When the row was stored here';
COMMENT ON COLUMN token_ledger_conflicts.event IS 'The whole row as it would have been stored';

CREATE TABLE token_ledger_rejected (
    event_id uuid NOT NULL,
    reason text NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    event jsonb NOT NULL,
    PRIMARY KEY (event_id)
);
COMMENT ON TABLE token_ledger_rejected IS 'Rows that the ledger could not store, with the reason; nothing is dropped silently';
COMMENT ON COLUMN token_ledger_rejected.event_id IS 'Identity of the rejected row';
COMMENT ON COLUMN token_ledger_rejected.reason IS 'Why the row was rejected';
COMMENT ON COLUMN token_ledger_rejected.recorded_at IS 'When the row was rejected';
COMMENT ON COLUMN token_ledger_rejected.event IS 'The row, without values that Postgres cannot store';

CREATE TABLE token_ledger_losses (
    loss_id uuid NOT NULL DEFAULT gen_random_uuid(),
    recorded_at timestamptz NOT NULL DEFAULT now(),
    app_name text NOT NULL DEFAULT '',
    reason text NOT NULL,
    records bigint NOT NULL,
    organization_id text NOT NULL DEFAULT '',
    PRIMARY KEY (loss_id),
    CONSTRAINT records_are_plausible CHECK (records BETWEEN 0 AND 1000000000)
);
COMMENT ON TABLE token_ledger_losses IS 'Counts of calls that are known to have happened and whose records are gone';
COMMENT ON COLUMN token_ledger_losses.loss_id IS 'Identity of the count';
COMMENT ON COLUMN token_ledger_losses.recorded_at IS 'When the count was written';
COMMENT ON COLUMN token_ledger_losses.app_name IS 'App that counted the loss';
COMMENT ON COLUMN token_ledger_losses.reason IS 'What went wrong';
COMMENT ON COLUMN token_ledger_losses.records IS 'How many records were lost';
COMMENT ON COLUMN token_ledger_losses.organization_id IS 'Organization whose reports were lost; empty for the operator''s own sources';

-- A parent may be stored long after its child, so the links have a table of their own.
CREATE TABLE token_ledger_parents (
    ancestor_event_id uuid NOT NULL,
    event_id uuid NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (ancestor_event_id, event_id)
);
COMMENT ON TABLE token_ledger_parents IS 'Calls whose span is enclosed by another span that may report the same call';
COMMENT ON COLUMN token_ledger_parents.ancestor_event_id IS 'Identity of the enclosing span, stored or not';
COMMENT ON COLUMN token_ledger_parents.event_id IS 'Identity of the call';
COMMENT ON COLUMN token_ledger_parents.recorded_at IS 'When the link was recorded';

-- No primary key: a unique row would make concurrent writers wait for each other.
CREATE TABLE token_ledger_dirty_minutes (
    minute timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT minute_is_plausible CHECK (minute BETWEEN '2015-01-01Z' AND '2200-01-01Z')
);
COMMENT ON TABLE token_ledger_dirty_minutes IS 'Minutes with calls that were not checked for duplicates yet; the keeper takes them';
COMMENT ON COLUMN token_ledger_dirty_minutes.minute IS 'Start of the minute';
COMMENT ON COLUMN token_ledger_dirty_minutes.recorded_at IS 'When the minute was marked';

-- A lock is a row, because any login may take an advisory lock: a reader that held one would stop
-- every writer.
CREATE TABLE token_ledger_locks (
    name text NOT NULL,
    PRIMARY KEY (name)
);
COMMENT ON TABLE token_ledger_locks IS 'Rows that writers and keepers lock while they deduplicate or roll up';
COMMENT ON COLUMN token_ledger_locks.name IS 'What the lock is for: settle, rollups';
INSERT INTO token_ledger_locks (name) VALUES ('settle'), ('rollups');

DO $migration$
DECLARE
    home text := pg_catalog.quote_ident(pg_catalog.current_schema()::text);
BEGIN
    EXECUTE pg_catalog.replace($create$
        -- A role that may insert calls may lock; a reader may not.
        CREATE FUNCTION HOME.token_ledger_take_lock(acting_as text, lock_name text, waits boolean)
        RETURNS boolean
        LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
        BEGIN
            IF NOT (
                pg_has_role(session_user, acting_as::name, 'MEMBER')
                AND has_table_privilege(
                    acting_as::name, 'HOME.token_ledger_events'::regclass::oid, 'INSERT'
                )
            ) THEN
                RAISE EXCEPTION 'only a writer or keeper may take the lock %', lock_name
                    USING ERRCODE = 'insufficient_privilege';
            END IF;
            IF waits THEN
                PERFORM FROM HOME.token_ledger_locks WHERE name = lock_name FOR UPDATE;
                IF NOT FOUND THEN
                    RAISE EXCEPTION 'token_ledger_locks has no row %', lock_name
                        USING HINT = 'insert it again as the tables'' owner';
                END IF;
                RETURN true;
            END IF;
            PERFORM FROM HOME.token_ledger_locks WHERE name = lock_name FOR UPDATE SKIP LOCKED;
            RETURN FOUND;
        END
        $body$
    $create$, 'HOME', home);
END
$migration$;
COMMENT ON FUNCTION token_ledger_take_lock(text, text, boolean) IS
'Takes a lock of token_ledger_locks until the transaction ends; false if another session holds it';
