-- Functions resolve nothing but pg_catalog and the ledger's own tables, whoever may create objects in
-- the ledger's schema; and writers get the least rights they need.
-- Release 00.01.00, step 22, safe before the new code runs.

-- A function with the search path `pg_catalog, pg_temp` finds no overload that somebody else made. So
-- its body names the ledger's schema, which is the one this migration runs in.
DO $migration$
DECLARE
    home text := pg_catalog.quote_ident(pg_catalog.current_schema()::text);
BEGIN
    EXECUTE pg_catalog.replace($create$
        -- Whether the session is the tables' owner, or a member of it.
        CREATE FUNCTION HOME.token_ledger_is_owner() RETURNS boolean
        LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $body$
        BEGIN
            RETURN pg_has_role(session_user, relowner, 'MEMBER')
            FROM pg_class
            WHERE oid = 'HOME.token_ledger_events'::regclass;
        END
        $body$
    $create$, 'HOME', home);

    EXECUTE pg_catalog.replace($create$
        CREATE OR REPLACE FUNCTION HOME.token_ledger_grant_partition(partition regclass) RETURNS void
        LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
        DECLARE
            known record;
        BEGIN
            -- COPY goes into the partition. Changes go through the parent, where triggers note them.
            FOR known IN
                SELECT granted.grantee::regrole AS role, granted.privilege_type AS privilege
                FROM pg_class, aclexplode(pg_class.relacl) AS granted
                WHERE
                    pg_class.oid = 'HOME.token_ledger_events'::regclass
                    AND granted.grantee <> 0::oid
                    AND granted.grantee <> pg_class.relowner
                    AND granted.privilege_type IN ('SELECT', 'INSERT')
                    AND has_table_privilege(granted.grantee, pg_class.oid, 'INSERT')
            LOOP
                EXECUTE format('GRANT %s ON %s TO %s', known.privilege, partition, known.role);
            END LOOP;
            FOR known IN SELECT rolname FROM pg_roles WHERE rolname IN ('anon', 'authenticated') LOOP
                EXECUTE format('REVOKE ALL ON %s FROM %I', partition, known.rolname);
            END LOOP;
        END
        $body$
    $create$, 'HOME', home);

    EXECUTE pg_catalog.replace($create$
        CREATE OR REPLACE FUNCTION HOME.token_ledger_add_partitions(first_month date, last_month date)
        RETURNS integer
        LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
        DECLARE
            month timestamp := date_trunc('month', first_month::timestamp);
            today timestamp := now() AT TIME ZONE 'UTC';
            partition text;
            made integer := 0;
        BEGIN
            IF last_month::timestamp > first_month::timestamp + interval '100 years' THEN
                RAISE EXCEPTION 'more than a hundred years of partitions cannot be made at once'
                    USING HINT = 'give a shorter stretch';
            END IF;
            IF
                NOT HOME.token_ledger_is_owner()
                AND (
                    first_month < date '2015-01-01'
                    OR last_month::timestamp > today + interval '4 months'
                    OR last_month::timestamp > first_month::timestamp + interval '12 months'
                )
            THEN
                RAISE EXCEPTION 'only the tables'' owner may make partitions from % to %', first_month, last_month
                    USING
                        ERRCODE = 'insufficient_privilege',
                        HINT = 'others may make months from 2015 to four months ahead, twelve at once';
            END IF;
            WHILE month <= last_month::timestamp LOOP
                partition := 'token_ledger_events_' || to_char(month, 'YYYY_MM');
                IF to_regclass('HOME.' || quote_ident(partition)) IS NULL THEN
                    -- Bounds are UTC whatever the session's time zone is.
                    EXECUTE format(
                        'CREATE TABLE IF NOT EXISTS HOME.%I PARTITION OF HOME.token_ledger_events '
                        'FOR VALUES FROM (%L) TO (%L)',
                        partition,
                        to_char(month, 'YYYY-MM-DD') || ' 00:00:00+00',
                        to_char(month + interval '1 month', 'YYYY-MM-DD') || ' 00:00:00+00'
                    );
                    EXECUTE format(
                        'COMMENT ON TABLE HOME.%I IS %L',
                        partition,
                        'Model calls that started in ' || to_char(month, 'YYYY-MM') || ', UTC'
                    );
                    PERFORM HOME.token_ledger_grant_partition(
                        to_regclass('HOME.' || quote_ident(partition))
                    );
                    made := made + 1;
                END IF;
                month := month + interval '1 month';
            END LOOP;
            RETURN made;
        END
        $body$
    $create$, 'HOME', home);

    EXECUTE pg_catalog.replace($create$
        CREATE OR REPLACE FUNCTION HOME.token_ledger_mark_changes() RETURNS trigger
        LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
        BEGIN
            IF TG_OP IN ('DELETE', 'UPDATE') THEN
                INSERT INTO HOME.token_ledger_rollup_marks (bucket)
                SELECT DISTINCT HOME.token_ledger_slice(before_it.timestamp) FROM before_it;
            END IF;
            IF TG_OP IN ('INSERT', 'UPDATE') THEN
                INSERT INTO HOME.token_ledger_rollup_marks (bucket)
                SELECT DISTINCT HOME.token_ledger_slice(after_it.timestamp) FROM after_it;
            END IF;
            IF TG_OP = 'TRUNCATE' THEN
                INSERT INTO HOME.token_ledger_rollup_marks (bucket)
                SELECT bucket FROM HOME.token_ledger_rollup_slices
                UNION
                SELECT bucket FROM HOME.token_ledger_rollup_hours;
            END IF;
            RETURN NULL;
        END
        $body$
    $create$, 'HOME', home);

    EXECUTE pg_catalog.replace($create$
        CREATE OR REPLACE FUNCTION HOME.token_ledger_close_to_api() RETURNS void
        LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
        DECLARE
            public_role record;
            known record;
            home_oid oid := relnamespace FROM pg_class WHERE oid = 'HOME.token_ledger_events'::regclass;
        BEGIN
            FOR public_role IN SELECT rolname FROM pg_roles WHERE rolname IN ('anon', 'authenticated') LOOP
                FOR known IN
                    SELECT oid::regclass AS name, relkind, relispartition
                    FROM pg_class
                    WHERE
                        relnamespace = home_oid
                        AND relname LIKE 'token\_ledger\_%' AND relkind IN ('r', 'p', 'v')
                LOOP
                    EXECUTE format('REVOKE ALL ON %s FROM %I', known.name, public_role.rolname);
                    IF known.relkind <> 'v' AND NOT known.relispartition THEN
                        EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', known.name);
                    END IF;
                END LOOP;
                FOR known IN
                    SELECT oid::regprocedure AS name
                    FROM pg_proc
                    WHERE pronamespace = home_oid AND proname LIKE 'token\_ledger\_%'
                LOOP
                    EXECUTE format('REVOKE ALL ON FUNCTION %s FROM %I', known.name, public_role.rolname);
                END LOOP;
            END LOOP;
        END
        $body$
    $create$, 'HOME', home);

    EXECUTE pg_catalog.replace($create$
        CREATE OR REPLACE FUNCTION HOME.token_ledger_horizon() RETURNS timestamptz
        LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $body$
        BEGIN
            RETURN date_trunc('month', (now() AT TIME ZONE 'UTC') - keep) AT TIME ZONE 'UTC'
            FROM HOME.token_ledger_retention;
        END
        $body$
    $create$, 'HOME', home);

    EXECUTE pg_catalog.replace($create$
        -- Deletes calls that are only known to have been sent, whose measured report is here now.
        CREATE FUNCTION HOME.token_ledger_drop_unmeasured(partition regclass, event_ids uuid[])
        RETURNS SETOF timestamptz
        LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
        BEGIN
            IF NOT EXISTS (
                SELECT
                FROM pg_inherits
                WHERE
                    inhrelid = partition::oid
                    AND inhparent = 'HOME.token_ledger_events'::regclass::oid
            ) THEN
                RAISE EXCEPTION '% is no partition of token_ledger_events', partition
                    USING ERRCODE = 'insufficient_privilege', HINT = 'give one of its partitions';
            END IF;
            RETURN QUERY EXECUTE format(
                'DELETE FROM %s WHERE event_id = ANY($1) AND cost_status = ''unmeasured'' '
                'RETURNING timestamp',
                partition
            ) USING event_ids;
        END
        $body$
    $create$, 'HOME', home);
END
$migration$;

-- In a SQL body that is inlined there is no search path to set: here every name and type is exact.
CREATE OR REPLACE FUNCTION token_ledger_slice(moment timestamptz) RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT pg_catalog.date_bin(interval '2 seconds', moment, timestamptz '2000-01-01 00:00:00+00')
$$;

CREATE OR REPLACE FUNCTION token_ledger_replace_value(document jsonb, old_value text, new_value text)
RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF jsonb_typeof(document) <> 'object' THEN
        RETURN document;
    END IF;
    RETURN COALESCE(
        (
            SELECT jsonb_object_agg(
                key, CASE WHEN value = to_jsonb(old_value) THEN to_jsonb(new_value) ELSE value END
            )
            FROM jsonb_each(document)
        ),
        document
    );
END
$$;

ALTER FUNCTION token_ledger_document(jsonb) SET search_path = pg_catalog, pg_temp;

COMMENT ON FUNCTION token_ledger_is_owner() IS
    'Whether the session''s user owns the ledger''s tables, or is a member of who does';
COMMENT ON FUNCTION token_ledger_drop_unmeasured(regclass, uuid[]) IS
    'Deletes calls only known to have been sent; returns when each started';
REVOKE ALL ON FUNCTION token_ledger_drop_unmeasured(regclass, uuid[]) FROM PUBLIC;

-- Whoever could delete calls to replace such a row may call the function instead.
DO $migration$
DECLARE
    known record;
BEGIN
    FOR known IN
        SELECT DISTINCT granted.grantee::pg_catalog.regrole AS role
        FROM pg_catalog.pg_class, pg_catalog.aclexplode(pg_class.relacl) AS granted
        WHERE
            pg_class.oid = 'token_ledger_events'::pg_catalog.regclass
            AND granted.grantee <> 0::oid
            AND granted.grantee <> pg_class.relowner
            AND granted.privilege_type = 'DELETE'
    LOOP
        EXECUTE pg_catalog.format(
            'GRANT EXECUTE ON FUNCTION token_ledger_drop_unmeasured(regclass, uuid[]) TO %s', known.role
        );
    END LOOP;
END
$migration$;

-- A count of lost records is a count. Rows from before are not looked at.
ALTER TABLE token_ledger_losses
ADD CONSTRAINT losses_are_counts CHECK (records >= 0 AND records <= 1000000000000) NOT VALID;
