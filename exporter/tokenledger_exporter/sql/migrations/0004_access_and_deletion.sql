-- Who may see which calls, how long calls are stored, who was erased, and the audit log of deletions.

CREATE TABLE token_ledger_audit_log (
    entry_id uuid NOT NULL DEFAULT gen_random_uuid(),
    recorded_at timestamptz NOT NULL DEFAULT now(),
    changed_by text NOT NULL DEFAULT CURRENT_USER,
    action text NOT NULL,
    dimensions jsonb NOT NULL DEFAULT '{}',
    time_from timestamptz,
    time_to timestamptz,
    counts jsonb NOT NULL DEFAULT '{}',
    PRIMARY KEY (entry_id)
);
COMMENT ON TABLE token_ledger_audit_log IS 'Every deletion, erasure and change of retention; never names the person whose data it was';
COMMENT ON COLUMN token_ledger_audit_log.entry_id IS 'Identity of the entry';
COMMENT ON COLUMN token_ledger_audit_log.recorded_at IS 'When it happened';
COMMENT ON COLUMN token_ledger_audit_log.changed_by IS 'Database user who logged in and did it';
COMMENT ON COLUMN token_ledger_audit_log.action IS 'purge, erase, retention set, retention drop, retention archive or repricings deleted';
COMMENT ON COLUMN token_ledger_audit_log.dimensions IS 'Filter of the action; the value is empty if it may name a person';
COMMENT ON COLUMN token_ledger_audit_log.time_from IS 'Start of the period, included; NULL has no start';
COMMENT ON COLUMN token_ledger_audit_log.time_to IS 'End of the period, not included; NULL has no end';
COMMENT ON COLUMN token_ledger_audit_log.counts IS 'Rows changed by table, and cost_usd of the deleted rows, US dollars';

CREATE TABLE token_ledger_retention (
    is_set boolean NOT NULL DEFAULT true,
    keep interval NOT NULL,
    archive_to text NOT NULL DEFAULT '',
    changed_by text NOT NULL DEFAULT CURRENT_USER,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (is_set),
    CONSTRAINT only_one_row CHECK (is_set),
    CONSTRAINT keep_is_a_month_or_more CHECK (keep >= interval '1 month')
);
COMMENT ON TABLE token_ledger_retention IS 'How long calls are stored, in one row; without a row they are never dropped';
COMMENT ON COLUMN token_ledger_retention.is_set IS 'Always true; limits the table to one row';
COMMENT ON COLUMN token_ledger_retention.keep IS 'A month is dropped once all of it is older than this';
COMMENT ON COLUMN token_ledger_retention.archive_to IS 'Folder for the dropped months, on the machine that runs retention; empty for none';
COMMENT ON COLUMN token_ledger_retention.changed_by IS 'Database user who set it';
COMMENT ON COLUMN token_ledger_retention.recorded_at IS 'When it was set';

-- One row per spelling of a person's id. The id itself is not stored.
CREATE TABLE token_ledger_erasures (
    id_hash bytea NOT NULL,
    pseudonym text NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (id_hash)
);
COMMENT ON TABLE token_ledger_erasures IS 'People whose id was replaced, so that ids in later reports are replaced too; only the owner reads it';
COMMENT ON COLUMN token_ledger_erasures.id_hash IS 'HMAC-SHA-256 of the id under token_ledger_erasure_key';
COMMENT ON COLUMN token_ledger_erasures.pseudonym IS 'Replacement of the id; random, so it cannot be traced back';
COMMENT ON COLUMN token_ledger_erasures.recorded_at IS 'When the person was erased';

-- Only the tables' owner reads the key, so no other role can test ids against the hashes.
CREATE TABLE token_ledger_erasure_key (
    is_one boolean NOT NULL DEFAULT true,
    inner_key bytea NOT NULL,
    outer_key bytea NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (is_one),
    CONSTRAINT only_one_row CHECK (is_one)
);
COMMENT ON TABLE token_ledger_erasure_key IS 'The secret key of this ledger''s erasures; only the owner reads it';
COMMENT ON COLUMN token_ledger_erasure_key.is_one IS 'Always true; limits the table to one row';
COMMENT ON COLUMN token_ledger_erasure_key.inner_key IS 'Key of the inner SHA-256, 64 bytes';
COMMENT ON COLUMN token_ledger_erasure_key.outer_key IS 'Key of the outer SHA-256, 64 bytes';
COMMENT ON COLUMN token_ledger_erasure_key.recorded_at IS 'When the key was generated';

-- A random UUID has 122 random bits from the operating system. Each half of a key uses three.
INSERT INTO token_ledger_erasure_key (inner_key, outer_key)
SELECT
    string_agg(half, ''::bytea) FILTER (WHERE number <= 2),
    string_agg(half, ''::bytea) FILTER (WHERE number > 2)
FROM (
    SELECT
        number,
        sha256(string_agg(uuid_send(gen_random_uuid()), ''::bytea)) AS half
    FROM generate_series(1, 4) AS number
    CROSS JOIN generate_series(1, 3)
    GROUP BY number
) AS halves;

CREATE TABLE token_ledger_reader_organizations (
    role regrole NOT NULL,
    organization_id text NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    sees_all boolean NOT NULL DEFAULT false,
    PRIMARY KEY (role, organization_id, sees_all),
    CONSTRAINT all_has_no_organization_id CHECK (NOT sees_all OR organization_id = '')
);
COMMENT ON TABLE token_ledger_reader_organizations IS 'Organizations each reader may see; a reader whose roles are not listed sees nothing';
COMMENT ON COLUMN token_ledger_reader_organizations.role IS 'Database role; the binding applies to it and its members, and follows a rename';
COMMENT ON COLUMN token_ledger_reader_organizations.organization_id IS 'An organization the role may see';
COMMENT ON COLUMN token_ledger_reader_organizations.recorded_at IS 'When the role was bound';
COMMENT ON COLUMN token_ledger_reader_organizations.sees_all IS 'True if the role may see every organization; a binding to organizations takes precedence';

-- Row-level security without a policy: a grant on all tables shows their rows to the owner alone.
ALTER TABLE token_ledger_erasures ENABLE ROW LEVEL SECURITY;
ALTER TABLE token_ledger_erasure_key ENABLE ROW LEVEL SECURITY;
ALTER TABLE token_ledger_reader_organizations ENABLE ROW LEVEL SECURITY;

-- As in 0001_calls: the bodies name the ledger's schema (HOME), and the search path holds none.
DO $migration$
DECLARE
    home text := pg_catalog.quote_ident(pg_catalog.current_schema()::text);
BEGIN
    EXECUTE pg_catalog.replace($create$
        CREATE FUNCTION HOME.token_ledger_log_action(
            performed text, filters jsonb, since timestamptz, until timestamptz, changed_rows jsonb
        ) RETURNS void
        LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
        BEGIN
            INSERT INTO HOME.token_ledger_audit_log (
                changed_by, action, dimensions, time_from, time_to, counts
            )
            VALUES (session_user, performed, filters, since, until, changed_rows);
        END
        $body$
    $create$, 'HOME', home);

    EXECUTE pg_catalog.replace($create$
        -- A purge deletes the cost history of the calls it deletes. No other role needs to.
        CREATE FUNCTION HOME.token_ledger_log_deleted_repricings() RETURNS trigger
        LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
        DECLARE
            deleted bigint := (SELECT count(*) FROM old_rows);
        BEGIN
            IF deleted > 0 AND NOT HOME.token_ledger_is_owner() THEN
                INSERT INTO HOME.token_ledger_audit_log (changed_by, action, counts)
                VALUES (
                    session_user, 'repricings deleted', jsonb_build_object('repricings', deleted)
                );
            END IF;
            RETURN NULL;
        END
        $body$
    $create$, 'HOME', home);

    EXECUTE pg_catalog.replace($create$
        -- The first timestamp that is retained: the start, UTC, of the month the limit falls into.
        CREATE FUNCTION HOME.token_ledger_horizon() RETURNS timestamptz
        LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $body$
        BEGIN
            RETURN date_trunc('month', (now() AT TIME ZONE 'UTC') - keep) AT TIME ZONE 'UTC'
            FROM HOME.token_ledger_retention;
        END
        $body$
    $create$, 'HOME', home);

    EXECUTE pg_catalog.replace($create$
        -- The folder is on the owner's machine, whose retention writes to it.
        CREATE FUNCTION HOME.token_ledger_set_retention(new_keep interval, folder text) RETURNS void
        LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
        DECLARE
            old_folder text := (SELECT archive_to FROM HOME.token_ledger_retention);
        BEGIN
            IF NOT HOME.token_ledger_is_owner() THEN
                IF folder IS NOT NULL OR (new_keep IS NULL AND COALESCE(old_folder, '') <> '') THEN
                    RAISE EXCEPTION 'only the tables'' owner may set the folder that months are archived to'
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
        -- HMAC with two independent keys.
        CREATE FUNCTION HOME.token_ledger_erasure_hash(id bytea) RETURNS bytea
        LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $body$
        BEGIN
            RETURN sha256(outer_key || sha256(inner_key || id)) FROM HOME.token_ledger_erasure_key;
        END
        $body$
    $create$, 'HOME', home);

    EXECUTE pg_catalog.replace($create$
        CREATE FUNCTION HOME.token_ledger_has_erasures() RETURNS boolean
        LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
        BEGIN
            RETURN EXISTS (SELECT FROM HOME.token_ledger_erasures);
        END
        $body$
    $create$, 'HOME', home);

    EXECUTE pg_catalog.replace($create$
        CREATE FUNCTION HOME.token_ledger_find_erased(ids bytea[])
        RETURNS TABLE (id bytea, pseudonym text)
        LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
        #variable_conflict use_column
        BEGIN
            -- Only roles that may insert calls need this, through membership or grants of their own.
            IF NOT EXISTS (
                SELECT
                FROM pg_roles
                WHERE
                    pg_has_role(session_user, pg_roles.oid, 'MEMBER')
                    AND has_table_privilege(
                        pg_roles.oid, 'HOME.token_ledger_events'::regclass::oid, 'INSERT'
                    )
            ) THEN
                RAISE EXCEPTION 'permission denied: only roles that may insert calls may look up erased ids'
                    USING
                        ERRCODE = 'insufficient_privilege',
                        HINT = 'make the login a member of the writer role';
            END IF;
            RETURN QUERY
            WITH hashed AS MATERIALIZED (
                SELECT wanted.id, sha256(key.outer_key || sha256(key.inner_key || wanted.id)) AS id_hash
                FROM HOME.token_ledger_erasure_key AS key
                CROSS JOIN unnest(ids) AS wanted (id)
            )
            SELECT hashed.id, erasures.pseudonym
            FROM hashed
            INNER JOIN HOME.token_ledger_erasures AS erasures ON erasures.id_hash = hashed.id_hash;
        END
        $body$
    $create$, 'HOME', home);

    EXECUTE pg_catalog.replace($create$
        CREATE FUNCTION HOME.token_ledger_add_erasure(ids bytea[]) RETURNS text
        LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
        DECLARE
            name text := (SELECT min(erased.pseudonym) FROM HOME.token_ledger_find_erased(ids) AS erased);
        BEGIN
            -- Eight random bytes. The hash removes the version bits of the random UUID.
            name := COALESCE(
                name,
                'erased-' || encode(substr(sha256(uuid_send(gen_random_uuid())), 1, 8), 'hex')
            );
            INSERT INTO HOME.token_ledger_erasures (id_hash, pseudonym)
            SELECT DISTINCT HOME.token_ledger_erasure_hash(spelling.id), name
            FROM unnest(ids) AS spelling (id)
            ON CONFLICT DO NOTHING;
            RETURN name;
        END
        $body$
    $create$, 'HOME', home);

    EXECUTE pg_catalog.replace($create$
        -- The policies on token_ledger_events read NULL as every organization, so NULL is returned
        -- only to a reader that may see all.
        CREATE FUNCTION HOME.token_ledger_readable_organizations(acting_as text)
        RETURNS text[]
        LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
        DECLARE
            -- A session may only ask about roles that its login is a member of.
            actor oid := pg_roles.oid FROM pg_roles
                WHERE rolname = acting_as::name AND pg_has_role(session_user, pg_roles.oid, 'MEMBER');
            session oid := pg_roles.oid FROM pg_roles WHERE rolname = session_user;
            organizations text[];
            sees_all boolean;
        BEGIN
            SELECT
                array_agg(DISTINCT bound.organization_id) FILTER (WHERE NOT bound.sees_all),
                COALESCE(bool_or(bound.sees_all), false)
            INTO organizations, sees_all
            FROM HOME.token_ledger_reader_organizations AS bound
            INNER JOIN pg_roles ON pg_roles.oid = bound.role::oid
            WHERE pg_has_role(actor, pg_roles.oid, 'MEMBER');
            IF organizations IS NOT NULL THEN
                RETURN organizations;
            END IF;
            IF sees_all THEN
                -- SET ROLE to a role that sees all does not lift the bindings of the login itself.
                RETURN (
                    SELECT array_agg(DISTINCT bound.organization_id)
                    FROM HOME.token_ledger_reader_organizations AS bound
                    INNER JOIN pg_roles ON pg_roles.oid = bound.role::oid
                    WHERE
                        NOT bound.sees_all
                        AND pg_has_role(session, pg_roles.oid, 'MEMBER')
                        AND NOT HOME.token_ledger_is_owner()
                        AND NOT EXISTS (
                            SELECT
                            FROM pg_roles AS logged_in
                            WHERE
                                logged_in.oid = session
                                AND (logged_in.rolsuper OR logged_in.rolbypassrls)
                        )
                );
            END IF;
            SELECT array_agg(bound.organization_id)
            INTO organizations
            FROM HOME.token_ledger_reader_organizations AS bound
            WHERE bound.role::oid = session AND NOT bound.sees_all;
            IF organizations IS NULL THEN
                RAISE EXCEPTION 'reader % is bound to no organization', acting_as
                    USING
                        ERRCODE = 'insufficient_privilege',
                        HINT = 'the owner binds it: tokenledger db roles --reader NAME --organization ID';
            END IF;
            RETURN organizations;
        END
        $body$
    $create$, 'HOME', home);

    EXECUTE pg_catalog.replace($create$
        -- Readers may not see duplicates, whose rows hold the attribution of another source. They may
        -- see how many there are.
        CREATE FUNCTION HOME.token_ledger_duplicate_totals(
            acting_as text, since timestamptz, until timestamptz
        ) RETURNS jsonb
        LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
        DECLARE
            sees_all boolean := has_table_privilege(
                session_user, 'HOME.token_ledger_duplicates'::regclass::oid, 'SELECT'
            );
            organizations text[];
            only_organization text := NULLIF(current_setting('tokenledger.organization', true), '');
        BEGIN
            IF NOT sees_all THEN
                organizations := HOME.token_ledger_readable_organizations(acting_as);
            END IF;
            RETURN (
                SELECT jsonb_build_object(
                    'reports', count(*),
                    'cost_usd', COALESCE(sum((duplicates.event ->> 'cost_usd'::text)::numeric), 0)::text
                )
                FROM HOME.token_ledger_duplicates AS duplicates
                WHERE
                    duplicates.timestamp >= since
                    AND duplicates.timestamp < until
                    AND (
                        organizations IS NULL
                        OR duplicates.event ->> 'organization_id'::text = ANY(organizations)
                    )
                    AND COALESCE(duplicates.event ->> 'organization_id'::text = only_organization, true)
            );
        END
        $body$
    $create$, 'HOME', home);

    EXECUTE pg_catalog.replace($create$
        -- A web API may serve every table to its public roles (Supabase: anon, authenticated). The
        -- ledger's tables get no grant, and row-level security without a policy.
        CREATE FUNCTION HOME.token_ledger_revoke_api_roles() RETURNS void
        LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
        DECLARE
            api_role record;
            object record;
            home_oid oid := relnamespace FROM pg_class WHERE oid = 'HOME.token_ledger_events'::regclass;
        BEGIN
            FOR api_role IN SELECT rolname FROM pg_roles WHERE rolname IN ('anon', 'authenticated') LOOP
                FOR object IN
                    SELECT oid::regclass AS name, relkind, relispartition
                    FROM pg_class
                    WHERE
                        relnamespace = home_oid
                        AND relname LIKE 'token\_ledger\_%' AND relkind IN ('r', 'p', 'v')
                LOOP
                    EXECUTE format('REVOKE ALL ON %s FROM %I', object.name, api_role.rolname);
                    IF object.relkind <> 'v' AND NOT object.relispartition THEN
                        EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', object.name);
                    END IF;
                END LOOP;
                FOR object IN
                    SELECT oid::regprocedure AS name
                    FROM pg_proc
                    WHERE pronamespace = home_oid AND proname LIKE 'token\_ledger\_%'
                LOOP
                    EXECUTE format('REVOKE ALL ON FUNCTION %s FROM %I', object.name, api_role.rolname);
                END LOOP;
            END LOOP;
        END
        $body$
    $create$, 'HOME', home);
END
$migration$;

CREATE FUNCTION token_ledger_replace_value(document jsonb, old_value text, new_value text)
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

CREATE FUNCTION token_ledger_as_object(document jsonb) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF jsonb_typeof(document) = 'string' THEN
        document := (document #>> '{}')::jsonb;
    END IF;
    RETURN CASE WHEN jsonb_typeof(document) = 'object' THEN document ELSE '{}'::jsonb END;
EXCEPTION
    WHEN data_exception THEN
        RETURN '{}'::jsonb;
END
$$;

COMMENT ON FUNCTION token_ledger_log_action(text, jsonb, timestamptz, timestamptz, jsonb) IS
'Adds an entry to token_ledger_audit_log; the database fills in who and when';
COMMENT ON FUNCTION token_ledger_log_deleted_repricings() IS
'Adds an entry to token_ledger_audit_log when repricings are deleted';
COMMENT ON FUNCTION token_ledger_horizon() IS
'The first timestamp whose calls are retained; NULL if calls are never dropped';
COMMENT ON FUNCTION token_ledger_set_retention(interval, text) IS
'Sets how long calls are stored, NULL for no limit; only the owner sets the folder';
COMMENT ON FUNCTION token_ledger_erasure_hash(bytea) IS
'Hash that identifies an erased person''s id (UTF-8 bytes)';
COMMENT ON FUNCTION token_ledger_has_erasures() IS 'Whether anybody was erased';
COMMENT ON FUNCTION token_ledger_find_erased(bytea[]) IS
'Which of these ids (UTF-8 bytes) were erased, and their pseudonyms';
COMMENT ON FUNCTION token_ledger_add_erasure(bytea[]) IS
'Records the spellings of one person''s id as erased; returns the pseudonym';
COMMENT ON FUNCTION token_ledger_readable_organizations(text) IS
'Organizations the session is bound to; NULL if it may see all, an error if it is bound to none';
COMMENT ON FUNCTION token_ledger_duplicate_totals(text, timestamptz, timestamptz) IS
'How many duplicate reports a period has and what they would have cost, US dollars';
COMMENT ON FUNCTION token_ledger_revoke_api_roles() IS
'Revokes every right on the ledger from anon and authenticated, if they exist';
COMMENT ON FUNCTION token_ledger_replace_value(jsonb, text, text) IS
'The document with every value that equals one text replaced by another';
COMMENT ON FUNCTION token_ledger_as_object(jsonb) IS
'The document as an object: text is parsed, and anything that is not an object becomes empty';
REVOKE ALL ON FUNCTION token_ledger_log_action(text, jsonb, timestamptz, timestamptz, jsonb) FROM PUBLIC;
REVOKE ALL ON FUNCTION token_ledger_log_deleted_repricings() FROM PUBLIC;
REVOKE ALL ON FUNCTION token_ledger_set_retention(interval, text) FROM PUBLIC;
REVOKE ALL ON FUNCTION token_ledger_erasure_hash(bytea) FROM PUBLIC;
REVOKE ALL ON FUNCTION token_ledger_add_erasure(bytea[]) FROM PUBLIC;
REVOKE ALL ON FUNCTION token_ledger_readable_organizations(text) FROM PUBLIC;
REVOKE ALL ON FUNCTION token_ledger_revoke_api_roles() FROM PUBLIC;

CREATE TRIGGER token_ledger_log_deleted_repricings AFTER DELETE ON token_ledger_repricings
REFERENCING OLD TABLE AS old_rows
FOR EACH STATEMENT EXECUTE FUNCTION token_ledger_log_deleted_repricings();

-- ALTER DEFAULT PRIVILEGES may have granted rights on these tables. Roles that got them use the
-- functions instead, which fill in who and when.
DO $migration$
DECLARE
    granted record;
BEGIN
    FOR granted IN
        SELECT
            CASE acl.grantee WHEN 0::oid THEN 'PUBLIC' ELSE acl.grantee::pg_catalog.regrole::text END AS role,
            pg_class.relname::text AS name,
            acl.privilege_type AS privilege
        FROM pg_catalog.pg_class, pg_catalog.aclexplode(pg_class.relacl) AS acl
        WHERE
            pg_class.oid IN (
                'token_ledger_events'::pg_catalog.regclass,
                'token_ledger_audit_log'::pg_catalog.regclass,
                'token_ledger_retention'::pg_catalog.regclass,
                'token_ledger_erasures'::pg_catalog.regclass
            )
            AND acl.grantee <> pg_class.relowner
            AND acl.privilege_type IN ('SELECT', 'INSERT', 'DELETE')
            AND NOT (acl.grantee = 0::oid AND pg_class.relname = 'token_ledger_events')
    LOOP
        CASE granted.name || ' ' || granted.privilege
            WHEN 'token_ledger_events DELETE' THEN
                EXECUTE pg_catalog.format(
                    'GRANT EXECUTE ON FUNCTION token_ledger_drop_unmeasured(regclass, uuid[]) TO %s',
                    granted.role
                );
            WHEN 'token_ledger_audit_log INSERT' THEN
                EXECUTE pg_catalog.format(
                    'GRANT EXECUTE ON FUNCTION '
                    'token_ledger_log_action(text, jsonb, timestamptz, timestamptz, jsonb) TO %s',
                    granted.role
                );
                EXECUTE pg_catalog.format(
                    'REVOKE INSERT, UPDATE, DELETE ON token_ledger_audit_log FROM %s', granted.role
                );
            WHEN 'token_ledger_retention INSERT' THEN
                EXECUTE pg_catalog.format(
                    'GRANT EXECUTE ON FUNCTION token_ledger_set_retention(interval, text) TO %s',
                    granted.role
                );
                EXECUTE pg_catalog.format(
                    'REVOKE INSERT, UPDATE, DELETE ON token_ledger_retention FROM %s', granted.role
                );
            WHEN 'token_ledger_erasures INSERT' THEN
                EXECUTE pg_catalog.format(
                    'GRANT EXECUTE ON FUNCTION token_ledger_add_erasure(bytea[]) TO %s', granted.role
                );
                EXECUTE pg_catalog.format('REVOKE ALL ON token_ledger_erasures FROM %s', granted.role);
            WHEN 'token_ledger_erasures SELECT' THEN
                EXECUTE pg_catalog.format('REVOKE ALL ON token_ledger_erasures FROM %s', granted.role);
            ELSE NULL;
        END CASE;
    END LOOP;
END
$migration$;
