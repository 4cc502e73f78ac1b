-- A reader sees what it is bound to, and nothing if it is bound to nothing. A binding follows the role
-- when it is renamed, and holds for every member of the role.
-- Release 00.01.00, step 23: readers that nobody bound see no call from here on, until
-- 'tokenledger db roles --reader NAME --all' says that they may see all.

-- A binding of a role that does not exist binds nobody.
DELETE FROM token_ledger_reader_organizations
WHERE pg_catalog.to_regrole(pg_catalog.quote_ident(role_name)) IS NULL;

-- regrole is kept as the role's id, and dumped as its name.
ALTER TABLE token_ledger_reader_organizations
ALTER COLUMN role_name TYPE regrole USING pg_catalog.to_regrole(pg_catalog.quote_ident(role_name));
ALTER TABLE token_ledger_reader_organizations RENAME COLUMN role_name TO role;
ALTER TABLE token_ledger_reader_organizations
ADD COLUMN sees_all boolean NOT NULL DEFAULT false,
ADD CONSTRAINT all_is_no_organization CHECK (NOT sees_all OR organization_id = '');
ALTER TABLE token_ledger_reader_organizations
DROP CONSTRAINT token_ledger_reader_organizations_pkey,
ADD PRIMARY KEY (role, organization_id, sees_all);

COMMENT ON TABLE token_ledger_reader_organizations IS
    'What readers see; a reader whose roles are not here sees nothing';
COMMENT ON COLUMN token_ledger_reader_organizations.role IS
    'Database role: it and its members are bound';
COMMENT ON COLUMN token_ledger_reader_organizations.organization_id IS 'An organization it sees';
COMMENT ON COLUMN token_ledger_reader_organizations.sees_all IS
    'True if it sees every organization; a binding to organizations wins over it';

DO $migration$
DECLARE
    home text := pg_catalog.quote_ident(pg_catalog.current_schema()::text);
BEGIN
    EXECUTE pg_catalog.replace($create$
        -- The policies of earlier releases call this function too, and read NULL as all. So NULL is
        -- returned only to a reader that is bound to all.
        CREATE OR REPLACE FUNCTION HOME.token_ledger_readable_organizations(acting_as text)
        RETURNS text[]
        LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
        DECLARE
            -- Who logged in may only ask about roles it can act as.
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
                -- Acting as a role that sees all frees no session that is bound.
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
END
$migration$;
COMMENT ON FUNCTION token_ledger_readable_organizations(text) IS
    'The organizations the session is bound to; NULL if it is bound to all, an error if to nothing';

-- Losses have no organization, so they are for readers of all. The policy is that of roll-ups.
DO $migration$
DECLARE
    known record;
BEGIN
    FOR known IN
        SELECT losses.polname, sums.qual, ARRAY_TO_STRING(sums.roles, ', ') AS roles
        FROM pg_catalog.pg_policy AS losses
        INNER JOIN pg_catalog.pg_policies AS sums
            ON
                sums.policyname = losses.polname
                AND sums.schemaname = pg_catalog.current_schema()
                AND sums.tablename = 'token_ledger_rollup_days'
        WHERE
            losses.polrelid = 'token_ledger_losses'::pg_catalog.regclass
            AND losses.polcmd = 'r'
    LOOP
        EXECUTE pg_catalog.format(
            'ALTER POLICY %I ON token_ledger_losses USING (%s)', known.polname, known.qual
        );
        EXECUTE pg_catalog.format('ALTER TABLE token_ledger_losses ENABLE ROW LEVEL SECURITY');
    END LOOP;
END
$migration$;
