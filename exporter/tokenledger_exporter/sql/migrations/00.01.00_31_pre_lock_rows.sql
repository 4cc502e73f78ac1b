-- Locks that only writers and keepers can take, rows set aside that can come back, and marks and
-- metadata that stop no keeper.
-- Release 00.01.00, step 31: older keepers and writers use another lock, so stop them first.

-- An advisory lock is anybody's who can log in: a reader that held one stopped every writer.
CREATE TABLE token_ledger_locks (
    name text NOT NULL,
    PRIMARY KEY (name)
);
COMMENT ON TABLE token_ledger_locks IS 'Rows that writers and keepers lock while they settle or roll up';
COMMENT ON COLUMN token_ledger_locks.name IS 'What the lock is for: settle, rollups';
INSERT INTO token_ledger_locks (name) VALUES ('settle'), ('rollups');
-- Whoever may add calls may lock, whatever role it acts as; a reader may not.
DO $migration$
DECLARE
    home text := pg_catalog.quote_ident(pg_catalog.current_schema()::text);
BEGIN
    EXECUTE pg_catalog.replace($create$
        CREATE FUNCTION HOME.token_ledger_take_lock(acting_as text, wanted text, waits boolean)
        RETURNS boolean
        LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
        BEGIN
            IF NOT (
                pg_has_role(session_user, acting_as::name, 'MEMBER')
                AND has_table_privilege(
                    acting_as::name, 'HOME.token_ledger_events'::regclass::oid, 'INSERT'
                )
            ) THEN
                RAISE EXCEPTION 'only a writer or keeper takes the lock %', wanted
                    USING ERRCODE = 'insufficient_privilege';
            END IF;
            IF waits THEN
                PERFORM FROM HOME.token_ledger_locks WHERE name = wanted FOR UPDATE;
                IF NOT FOUND THEN
                    RAISE EXCEPTION 'token_ledger_locks has no row %', wanted
                        USING HINT = 'insert it again as the tables'' owner';
                END IF;
                RETURN true;
            END IF;
            PERFORM FROM HOME.token_ledger_locks WHERE name = wanted FOR UPDATE SKIP LOCKED;
            RETURN FOUND;
        END
        $body$
    $create$, 'HOME', home);
END
$migration$;
COMMENT ON FUNCTION token_ledger_take_lock(text, text, boolean) IS
    'Takes a lock of token_ledger_locks until the transaction ends; false if somebody else holds it';

-- A row set aside before there was a column has no value for it; and the bounds are those of calls.
UPDATE token_ledger_duplicates
SET event = event || '{"token_organization_id": ""}'
WHERE NOT event ? 'token_organization_id';
UPDATE token_ledger_duplicates
SET
    event = event || '{"cost_status": "unpriced", "price_id": ""}' || pg_catalog.jsonb_build_object(
        'cost_note', 'a count was over 1,000,000,000, more than one call can use',
        'input_tokens', NULL,
        'output_tokens', NULL,
        'cached_tokens', NULL,
        'cache_write_tokens', NULL,
        'cache_write_1h_tokens', NULL,
        'reasoning_tokens', NULL,
        'audio_input_tokens', NULL,
        'audio_output_tokens', NULL,
        'image_input_tokens', NULL,
        'image_output_tokens', NULL,
        'web_search_requests', NULL,
        'file_search_requests', NULL,
        'code_execution_requests', NULL,
        'audio_seconds', NULL,
        'input_characters', NULL,
        'images', NULL,
        'cached_audio_tokens', NULL,
        'cached_image_tokens', NULL,
        'total_tokens', NULL,
        'cost_usd', NULL,
        'input_cost_usd', NULL,
        'cached_cost_usd', NULL,
        'cache_write_cost_usd', NULL,
        'output_cost_usd', NULL,
        'tool_cost_usd', NULL
    )
WHERE EXISTS (
    SELECT
    FROM pg_catalog.jsonb_each_text(event) AS told (name, value)
    WHERE
        told.name = ANY(ARRAY[
            'input_tokens',
            'output_tokens',
            'cached_tokens',
            'cache_write_tokens',
            'cache_write_1h_tokens',
            'reasoning_tokens',
            'audio_input_tokens',
            'audio_output_tokens',
            'image_input_tokens',
            'image_output_tokens',
            'web_search_requests',
            'file_search_requests',
            'code_execution_requests',
            'audio_seconds',
            'input_characters',
            'images',
            'cached_audio_tokens',
            'cached_image_tokens',
            'total_tokens'
        ])
        AND told.value::numeric > CASE told.name WHEN 'total_tokens' THEN 2000000000 ELSE 1000000000 END
);
UPDATE token_ledger_duplicates
SET
    response_id = pg_catalog.left(response_id, 255),
    event = event || (
        SELECT pg_catalog.jsonb_object_agg(
            told.name,
            pg_catalog.left(
                told.value,
                CASE WHEN told.name IN ('provider', 'operation', 'service_tier', 'inference_geo') THEN 64 ELSE 255 END
            )
        )
        FROM pg_catalog.jsonb_each_text(event) AS told (name, value)
        WHERE told.name = ANY(ARRAY[
            'provider',
            'operation',
            'service_tier',
            'inference_geo',
            'scope',
            'model',
            'request_model',
            'response_id',
            'error_type',
            'user_id',
            'session_id',
            'organization_id',
            'project',
            'feature',
            'team',
            'cost_center',
            'agent_id',
            'endpoint',
            'app_name',
            'release',
            'environment'
        ])
    )
WHERE pg_catalog.length(event::text) > 255;
UPDATE token_ledger_duplicates
SET event = event || '{"duration_ms": null, "time_to_first_token_ms": null}'
WHERE
    NOT COALESCE((event ->> 'duration_ms')::float8 BETWEEN 0 AND 86400000, true)
    OR NOT COALESCE((event ->> 'time_to_first_token_ms')::float8 BETWEEN 0 AND 86400000, true);

-- A mark of no possible time cannot be read back, and metadata that is no object has no keys.
DELETE FROM token_ledger_marks WHERE NOT minute BETWEEN '2015-01-01Z' AND '2200-01-01Z';
DELETE FROM token_ledger_rollup_marks WHERE NOT bucket BETWEEN '2015-01-01Z' AND '2200-01-01Z';
ALTER TABLE token_ledger_marks
ADD CONSTRAINT minute_is_plausible CHECK (minute BETWEEN '2015-01-01Z' AND '2200-01-01Z');
ALTER TABLE token_ledger_rollup_marks
ADD CONSTRAINT bucket_is_plausible CHECK (bucket BETWEEN '2015-01-01Z' AND '2200-01-01Z');
UPDATE token_ledger_events SET metadata = '{}' WHERE pg_catalog.jsonb_typeof(metadata) <> 'object';
ALTER TABLE token_ledger_events
ADD CONSTRAINT metadata_is_an_object CHECK (pg_catalog.jsonb_typeof(metadata) = 'object');
