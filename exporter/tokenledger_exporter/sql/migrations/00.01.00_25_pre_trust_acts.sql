-- Who did something and when is written by the database, and a changed cost leaves a trace.
-- Release 00.01.00, step 25.

DO $migration$
DECLARE
    home text := pg_catalog.quote_ident(pg_catalog.current_schema()::text);
    known record;
BEGIN
    EXECUTE pg_catalog.replace($create$
        CREATE FUNCTION HOME.token_ledger_log_act(
            what text, narrowed_to jsonb, since timestamptz, until timestamptz, changed jsonb
        ) RETURNS void
        LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
        BEGIN
            INSERT INTO HOME.token_ledger_acts (changed_by, act, dimensions, time_from, time_to, counts)
            VALUES (session_user, what, narrowed_to, since, until, changed);
        END
        $body$
    $create$, 'HOME', home);

    EXECUTE pg_catalog.replace($create$
        -- The folder is on the machine of the owner, whose retention writes to it.
        CREATE FUNCTION HOME.token_ledger_set_retention(new_keep interval, folder text) RETURNS void
        LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
        DECLARE
            old_folder text := (SELECT archive_to FROM HOME.token_ledger_retention);
        BEGIN
            IF NOT HOME.token_ledger_is_owner() THEN
                IF folder IS NOT NULL OR (new_keep IS NULL AND COALESCE(old_folder, '') <> '') THEN
                    RAISE EXCEPTION 'only the tables'' owner says which folder months are archived to'
                        USING ERRCODE = 'insufficient_privilege', HINT = 'set it as the owner';
                END IF;
                folder := old_folder;
            END IF;
            IF new_keep IS NULL THEN
                DELETE FROM HOME.token_ledger_retention;
                RETURN;
            END IF;
            INSERT INTO HOME.token_ledger_retention (keep, archive_to, changed_by)
            VALUES (new_keep, COALESCE(folder, ''), session_user)
            ON CONFLICT (is_set) DO UPDATE
            SET
                keep = excluded.keep,
                archive_to = excluded.archive_to,
                changed_by = excluded.changed_by,
                recorded_at = now();
        END
        $body$
    $create$, 'HOME', home);

    EXECUTE pg_catalog.replace($create$
        -- The owner could take the trigger away, so what it changes by hand is not noted.
        CREATE FUNCTION HOME.token_ledger_note_costs() RETURNS trigger
        LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
        BEGIN
            IF HOME.token_ledger_is_owner() THEN
                RETURN NULL;
            END IF;
            INSERT INTO HOME.token_ledger_repricings (
                event_id, old_cost_usd, new_cost_usd, old_cost_status, new_cost_status,
                old_price_id, new_price_id, changed_by, reason
            )
            SELECT
                before_it.event_id, before_it.cost_usd, after_it.cost_usd, before_it.cost_status,
                after_it.cost_status, before_it.price_id, after_it.price_id, session_user,
                'changed by hand'
            FROM before_it
            INNER JOIN after_it ON after_it.event_id = before_it.event_id
            WHERE
                (before_it.cost_usd, before_it.cost_status, before_it.price_id)
                IS DISTINCT FROM (after_it.cost_usd, after_it.cost_status, after_it.price_id)
                -- A repricing notes its own in the same statement.
                AND NOT EXISTS (
                    SELECT
                    FROM HOME.token_ledger_repricings AS noted
                    WHERE
                        noted.event_id = before_it.event_id
                        AND noted.recorded_at = now()
                        AND noted.old_cost_usd IS NOT DISTINCT FROM before_it.cost_usd
                        AND noted.new_cost_usd IS NOT DISTINCT FROM after_it.cost_usd
                        AND noted.new_cost_status = after_it.cost_status
                );
            RETURN NULL;
        END
        $body$
    $create$, 'HOME', home);

    EXECUTE pg_catalog.replace($create$
        -- A purge deletes the history of the calls it deletes. Nobody else has reason to.
        CREATE FUNCTION HOME.token_ledger_note_forgotten() RETURNS trigger
        LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
        DECLARE
            forgotten bigint := (SELECT count(*) FROM before_it);
        BEGIN
            IF forgotten > 0 AND NOT HOME.token_ledger_is_owner() THEN
                INSERT INTO HOME.token_ledger_acts (changed_by, act, counts)
                VALUES (
                    session_user, 'repricings deleted', jsonb_build_object('repricings', forgotten)
                );
            END IF;
            RETURN NULL;
        END
        $body$
    $create$, 'HOME', home);

    REVOKE ALL ON FUNCTION token_ledger_log_act(text, jsonb, timestamptz, timestamptz, jsonb) FROM PUBLIC;
    REVOKE ALL ON FUNCTION token_ledger_set_retention(interval, text) FROM PUBLIC;
    REVOKE ALL ON FUNCTION token_ledger_note_costs() FROM PUBLIC;
    REVOKE ALL ON FUNCTION token_ledger_note_forgotten() FROM PUBLIC;

    -- Whoever added acts and settings by hand calls the functions instead.
    FOR known IN
        SELECT
            CASE granted.grantee WHEN 0::oid THEN 'PUBLIC' ELSE granted.grantee::pg_catalog.regrole::text END
                AS role,
            pg_class.relname::text AS name
        FROM pg_catalog.pg_class, pg_catalog.aclexplode(pg_class.relacl) AS granted
        WHERE
            pg_class.oid IN (
                'token_ledger_acts'::pg_catalog.regclass, 'token_ledger_retention'::pg_catalog.regclass
            )
            AND granted.grantee <> pg_class.relowner
            AND granted.privilege_type = 'INSERT'
    LOOP
        EXECUTE pg_catalog.format(
            CASE known.name
                WHEN 'token_ledger_acts' THEN
                    'GRANT EXECUTE ON FUNCTION '
                    'token_ledger_log_act(text, jsonb, timestamptz, timestamptz, jsonb) TO %s'
                ELSE 'GRANT EXECUTE ON FUNCTION token_ledger_set_retention(interval, text) TO %s'
            END,
            known.role
        );
        EXECUTE pg_catalog.format('REVOKE INSERT, UPDATE, DELETE ON %I FROM %s', known.name, known.role);
    END LOOP;
END
$migration$;

CREATE TRIGGER token_ledger_note_costs AFTER UPDATE ON token_ledger_events
REFERENCING OLD TABLE AS before_it NEW TABLE AS after_it
FOR EACH STATEMENT EXECUTE FUNCTION token_ledger_note_costs();
CREATE TRIGGER token_ledger_note_forgotten AFTER DELETE ON token_ledger_repricings
REFERENCING OLD TABLE AS before_it
FOR EACH STATEMENT EXECUTE FUNCTION token_ledger_note_forgotten();

COMMENT ON FUNCTION token_ledger_log_act(text, jsonb, timestamptz, timestamptz, jsonb) IS
    'Adds to token_ledger_acts; who and when are the session''s';
COMMENT ON FUNCTION token_ledger_set_retention(interval, text) IS
    'Says for how long calls are kept, NULL for ever; the folder is the owner''s to set';
COMMENT ON FUNCTION token_ledger_note_costs() IS 'Notes in token_ledger_repricings what a statement changed of costs';
COMMENT ON FUNCTION token_ledger_note_forgotten() IS 'Notes in token_ledger_acts that repricings were deleted';
COMMENT ON COLUMN token_ledger_acts.changed_by IS 'Database user who logged in and did it';
