-- What roles need: partitions whoever writes may make and use, organizations readers are bound to,
-- and nothing for the public roles of a web API.
-- Release 00.01.00, step 13, safe before the new code runs: who owns the tables sees no difference.

CREATE TABLE token_ledger_reader_organizations (
    role_name text NOT NULL,
    organization_id text NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (role_name, organization_id)
);
COMMENT ON TABLE token_ledger_reader_organizations IS 'Readers that see these organizations alone; a reader that is not here sees all';
COMMENT ON COLUMN token_ledger_reader_organizations.role_name IS 'Database role: the one that logged in, or the one it acts as';
COMMENT ON COLUMN token_ledger_reader_organizations.organization_id IS 'An organization it sees';
COMMENT ON COLUMN token_ledger_reader_organizations.recorded_at IS 'When it was bound';

-- What a reader is bound to. Who logged in counts beside who is acting, so SET ROLE frees nobody.
CREATE FUNCTION token_ledger_readable_organizations(acting_as text) RETURNS text[]
LANGUAGE sql STABLE SECURITY DEFINER AS $$
    SELECT array_agg(organization_id)
    FROM token_ledger_reader_organizations
    WHERE
        role_name = session_user
        OR (
            role_name = acting_as
            AND EXISTS (
                SELECT
                FROM pg_roles
                WHERE rolname = acting_as AND pg_has_role(session_user, oid, 'MEMBER')
            )
        )
$$;
COMMENT ON FUNCTION token_ledger_readable_organizations(text) IS
    'The organizations the session is bound to; NULL if it is bound to none';

-- Who may write to the ledger may write to a partition, as COPY does; who only reads may not go there,
-- where no row-level security is.
CREATE FUNCTION token_ledger_grant_partition(partition regclass) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    known record;
BEGIN
    FOR known IN
        SELECT granted.grantee::regrole AS role, granted.privilege_type AS privilege
        FROM pg_class, aclexplode(pg_class.relacl) AS granted
        WHERE
            pg_class.oid = 'token_ledger_events'::regclass
            AND granted.grantee <> 0
            AND granted.grantee <> pg_class.relowner
            AND granted.privilege_type IN ('SELECT', 'INSERT', 'UPDATE', 'DELETE')
            AND has_table_privilege(granted.grantee, pg_class.oid, 'INSERT')
    LOOP
        EXECUTE format('GRANT %s ON %s TO %s', known.privilege, partition, known.role);
    END LOOP;
    FOR known IN SELECT rolname FROM pg_roles WHERE rolname IN ('anon', 'authenticated') LOOP
        EXECUTE format('REVOKE ALL ON %s FROM %I', partition, known.rolname);
    END LOOP;
END
$$;
COMMENT ON FUNCTION token_ledger_grant_partition(regclass) IS
    'Gives a partition the grants that writers have on token_ledger_events';

-- As before, and as the tables' owner for whoever may call it; with the grants.
CREATE OR REPLACE FUNCTION token_ledger_add_partitions(first_month date, last_month date)
RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    month date := date_trunc('month', first_month)::date;
    partition text;
    made integer := 0;
BEGIN
    IF last_month > first_month + interval '100 years' THEN
        RAISE EXCEPTION 'a hundred years of partitions are not made at once'
            USING HINT = 'give a shorter stretch';
    END IF;
    WHILE month <= last_month LOOP
        partition := 'token_ledger_events_' || to_char(month, 'YYYY_MM');
        IF to_regclass(partition) IS NULL THEN
            -- Bounds are UTC whatever the session's time zone is.
            EXECUTE format(
                'CREATE TABLE IF NOT EXISTS %I PARTITION OF token_ledger_events FOR VALUES FROM (%L) TO (%L)',
                partition,
                to_char(month, 'YYYY-MM-DD') || ' 00:00:00+00',
                to_char(month + interval '1 month', 'YYYY-MM-DD') || ' 00:00:00+00'
            );
            EXECUTE format(
                'COMMENT ON TABLE %I IS %L',
                partition,
                'Model calls that started in ' || to_char(month, 'YYYY-MM') || ', UTC'
            );
            PERFORM token_ledger_grant_partition(partition::regclass);
            made := made + 1;
        END IF;
        month := (month + interval '1 month')::date;
    END LOOP;
    RETURN made;
END
$$;

-- Where a web API serves every table to its public roles (Supabase: anon, authenticated), ours are
-- closed to them twice: no grant, and row-level security without a policy. Partitions have no grant.
CREATE FUNCTION token_ledger_close_to_api() RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    public_role record;
    known record;
BEGIN
    FOR public_role IN SELECT rolname FROM pg_roles WHERE rolname IN ('anon', 'authenticated') LOOP
        FOR known IN
            SELECT oid::regclass AS name, relkind, relispartition
            FROM pg_class
            WHERE
                relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema())
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
            WHERE
                pronamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema())
                AND proname LIKE 'token\_ledger\_%'
        LOOP
            EXECUTE format('REVOKE ALL ON FUNCTION %s FROM %I', known.name, public_role.rolname);
        END LOOP;
    END LOOP;
END
$$;
COMMENT ON FUNCTION token_ledger_close_to_api() IS
    'Takes every right on the ledger from anon and authenticated, where they exist';

-- A function that acts as its owner must find its own tables first, and serve only who was granted it.
DO $$
BEGIN
    EXECUTE format(
        'ALTER FUNCTION token_ledger_add_partitions(date, date) SET search_path = %I, pg_temp',
        current_schema()
    );
    EXECUTE format(
        'ALTER FUNCTION token_ledger_readable_organizations(text) SET search_path = %I, pg_temp',
        current_schema()
    );
END
$$;
REVOKE ALL ON FUNCTION token_ledger_add_partitions(date, date) FROM PUBLIC;
REVOKE ALL ON FUNCTION token_ledger_readable_organizations(text) FROM PUBLIC;
REVOKE ALL ON FUNCTION token_ledger_grant_partition(regclass) FROM PUBLIC;
REVOKE ALL ON FUNCTION token_ledger_close_to_api() FROM PUBLIC;
