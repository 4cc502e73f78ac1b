-- Erased people are recognized by a keyed hash. The key stays with the tables' owner, so nobody else
-- can try ids away from the database, and one hash of an id is looked up among all erased people.
-- Release 00.01.00, step 24.

CREATE TABLE token_ledger_erasure_key (
    is_one boolean NOT NULL DEFAULT true,
    inner_key bytea NOT NULL,
    outer_key bytea NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    PRIMARY KEY (is_one),
    CONSTRAINT there_is_one CHECK (is_one)
);
COMMENT ON TABLE token_ledger_erasure_key IS 'The secret key of this ledger''s erasures; only the owner reads it';
COMMENT ON COLUMN token_ledger_erasure_key.is_one IS 'True; keeps it to one row';
COMMENT ON COLUMN token_ledger_erasure_key.inner_key IS 'Key of the inner SHA-256, 64 bytes';
COMMENT ON COLUMN token_ledger_erasure_key.outer_key IS 'Key of the outer SHA-256, 64 bytes';
COMMENT ON COLUMN token_ledger_erasure_key.recorded_at IS 'When it was drawn';

-- A random UUID has 122 random bits, from the operating system. Each half of a key takes three.
INSERT INTO token_ledger_erasure_key (inner_key, outer_key)
SELECT
    pg_catalog.string_agg(half, ''::bytea) FILTER (WHERE number <= 2),
    pg_catalog.string_agg(half, ''::bytea) FILTER (WHERE number > 2)
FROM (
    SELECT
        number,
        pg_catalog.sha256(pg_catalog.string_agg(pg_catalog.uuid_send(pg_catalog.gen_random_uuid()), ''::bytea))
            AS half
    FROM pg_catalog.generate_series(1, 4) AS number
    CROSS JOIN pg_catalog.generate_series(1, 3)
    GROUP BY number
) AS halves;

COMMENT ON TABLE token_ledger_erasures IS
    'People whose id was replaced, so that what is still on its way is replaced too; only the owner reads it';
COMMENT ON COLUMN token_ledger_erasures.id_hash IS
    'HMAC-SHA-256 of the id under token_ledger_erasure_key; of rows with a salt, SHA-256 of salt and id';
COMMENT ON COLUMN token_ledger_erasures.salt IS 'Of people who were erased before there was a key; else empty';
ALTER TABLE token_ledger_erasures ALTER COLUMN salt SET DEFAULT '';

DO $migration$
DECLARE
    home text := pg_catalog.quote_ident(pg_catalog.current_schema()::text);
    known record;
BEGIN
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
        CREATE FUNCTION HOME.token_ledger_any_erased() RETURNS boolean
        LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
        BEGIN
            RETURN EXISTS (SELECT FROM HOME.token_ledger_erasures);
        END
        $body$
    $create$, 'HOME', home);

    EXECUTE pg_catalog.replace($create$
        CREATE FUNCTION HOME.token_ledger_erased(ids bytea[])
        RETURNS TABLE (id bytea, pseudonym text)
        LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
        #variable_conflict use_column
        BEGIN
            -- Who writes calls asks for them. An app may write with grants of its own, so they count.
            IF NOT EXISTS (
                SELECT
                FROM pg_roles
                WHERE
                    pg_has_role(session_user, pg_roles.oid, 'MEMBER')
                    AND has_table_privilege(
                        pg_roles.oid, 'HOME.token_ledger_events'::regclass::oid, 'INSERT'
                    )
            ) THEN
                RAISE EXCEPTION 'permission denied: only who may write calls asks who was erased'
                    USING ERRCODE = 'insufficient_privilege', HINT = 'become a member of a writer';
            END IF;
            RETURN QUERY
            WITH asked AS MATERIALIZED (
                SELECT given.id, sha256(key.outer_key || sha256(key.inner_key || given.id)) AS id_hash
                FROM HOME.token_ledger_erasure_key AS key
                CROSS JOIN unnest(ids) AS given (id)
            )
            SELECT asked.id, known.pseudonym
            FROM asked
            INNER JOIN HOME.token_ledger_erasures AS known ON known.id_hash = asked.id_hash
            WHERE known.salt = ''::bytea;
            IF EXISTS (SELECT FROM HOME.token_ledger_erasures AS known WHERE known.salt <> ''::bytea) THEN
                RETURN QUERY
                SELECT given.id, known.pseudonym
                FROM unnest(ids) AS given (id)
                CROSS JOIN HOME.token_ledger_erasures AS known
                WHERE known.salt <> ''::bytea AND known.id_hash = sha256(known.salt || given.id);
            END IF;
        END
        $body$
    $create$, 'HOME', home);

    EXECUTE pg_catalog.replace($create$
        CREATE FUNCTION HOME.token_ledger_add_erasure(ids bytea[]) RETURNS text
        LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
        DECLARE
            name text := (SELECT min(erased.pseudonym) FROM HOME.token_ledger_erased(ids) AS erased);
        BEGIN
            -- Eight random bytes: a random UUID without those of its bytes that say what it is.
            name := COALESCE(
                name,
                'erased-' || encode(substr(sha256(uuid_send(gen_random_uuid())), 1, 8), 'hex')
            );
            INSERT INTO HOME.token_ledger_erasures (id_hash, salt, pseudonym)
            SELECT DISTINCT HOME.token_ledger_erasure_hash(given.id), ''::bytea, name
            FROM unnest(ids) AS given (id)
            ON CONFLICT DO NOTHING;
            RETURN name;
        END
        $body$
    $create$, 'HOME', home);

    REVOKE ALL ON FUNCTION token_ledger_erasure_hash(bytea) FROM PUBLIC;
    REVOKE ALL ON FUNCTION token_ledger_add_erasure(bytea[]) FROM PUBLIC;

    -- Whoever added tombstones adds ids now.
    FOR known IN
        SELECT
            CASE granted.grantee WHEN 0::oid THEN 'PUBLIC' ELSE granted.grantee::pg_catalog.regrole::text END
                AS role,
            granted.privilege_type AS privilege
        FROM pg_catalog.pg_class, pg_catalog.aclexplode(pg_class.relacl) AS granted
        WHERE
            pg_class.oid = 'token_ledger_erasures'::pg_catalog.regclass
            AND granted.grantee <> pg_class.relowner
            AND granted.privilege_type IN ('SELECT', 'INSERT')
    LOOP
        IF known.privilege = 'INSERT' THEN
            EXECUTE pg_catalog.format(
                'GRANT EXECUTE ON FUNCTION token_ledger_add_erasure(bytea[]) TO %s', known.role
            );
        END IF;
        EXECUTE pg_catalog.format('REVOKE ALL ON token_ledger_erasures FROM %s', known.role);
    END LOOP;
END
$migration$;
-- A grant on all tables of the schema shows nobody but the owner their rows.
DO $migration$
DECLARE
    known record;
BEGIN
    FOR known IN
        SELECT polname, polrelid::pg_catalog.regclass AS name
        FROM pg_catalog.pg_policy
        WHERE
            polrelid IN (
                'token_ledger_erasures'::pg_catalog.regclass,
                'token_ledger_reader_organizations'::pg_catalog.regclass
            )
    LOOP
        EXECUTE pg_catalog.format('DROP POLICY %I ON %s', known.polname, known.name);
    END LOOP;
END
$migration$;
ALTER TABLE token_ledger_erasure_key ENABLE ROW LEVEL SECURITY;
ALTER TABLE token_ledger_erasures ENABLE ROW LEVEL SECURITY;
ALTER TABLE token_ledger_reader_organizations ENABLE ROW LEVEL SECURITY;

COMMENT ON FUNCTION token_ledger_erasure_hash(bytea) IS 'What a person''s id is recognized by; UTF-8 bytes';
COMMENT ON FUNCTION token_ledger_any_erased() IS 'Whether anybody was erased';
COMMENT ON FUNCTION token_ledger_erased(bytea[]) IS 'Which of these ids were erased, and what stands for them; UTF-8 bytes';
COMMENT ON FUNCTION token_ledger_add_erasure(bytea[]) IS 'Notes one person''s spellings as erased; returns what stands for them';
