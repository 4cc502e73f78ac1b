-- What tenants lost, and what was reported twice, stand apart from the operator's own figures.
-- Release 00.01.00, step 30, safe before the new code runs.

-- A reader sees losses of the organizations whose calls it sees.
DO $migration$
DECLARE
    known record;
BEGIN
    FOR known IN
        SELECT losses.polname, calls.qual
        FROM pg_catalog.pg_policy AS losses
        INNER JOIN pg_catalog.pg_policies AS calls
            ON
                calls.policyname = losses.polname
                AND calls.schemaname = pg_catalog.current_schema()
                AND calls.tablename = 'token_ledger_events'
        WHERE
            losses.polrelid = 'token_ledger_losses'::pg_catalog.regclass
            AND losses.polcmd = 'r'
    LOOP
        EXECUTE pg_catalog.format(
            'ALTER POLICY %I ON token_ledger_losses USING (%s)', known.polname, known.qual
        );
    END LOOP;
END
$migration$;

-- `lost` is what the operator's own sources lost: a tenant that counts a hundred thousand losses
-- changes nobody's coverage but its own.
DO $migration$
DECLARE
    definition text := pg_catalog.pg_get_viewdef('token_ledger_coverage'::pg_catalog.regclass);
    changed text := pg_catalog.regexp_replace(
        definition,
        'FROM (\S*token_ledger_losses)\)',
        'FROM \1 WHERE \1.organization_id = '''')'
    );
BEGIN
    IF changed = definition THEN
        RAISE EXCEPTION 'token_ledger_coverage is not the view that the earlier steps made';
    END IF;
    EXECUTE pg_catalog.concat(
        'CREATE OR REPLACE VIEW token_ledger_coverage WITH (security_invoker = true) AS ', changed
    );
END
$migration$;
COMMENT ON COLUMN token_ledger_coverage.lost IS
    'Records that the operator''s own sources lost that day; they are in no other column';

CREATE VIEW token_ledger_organization_losses WITH (security_invoker = true) AS
SELECT
    (recorded_at AT TIME ZONE 'UTC')::date AS day,
    organization_id,
    pg_catalog.sum(records)::bigint AS lost
FROM token_ledger_losses
WHERE organization_id <> ''
GROUP BY (recorded_at AT TIME ZONE 'UTC')::date, organization_id;
COMMENT ON VIEW token_ledger_organization_losses IS 'Records of each organization''s senders that could not be kept, by day';
COMMENT ON COLUMN token_ledger_organization_losses.day IS 'Day, UTC';
COMMENT ON COLUMN token_ledger_organization_losses.organization_id IS 'Organization whose reports were lost';
COMMENT ON COLUMN token_ledger_organization_losses.lost IS 'How many records';

-- Readers do not see the rows themselves, which hold the attribution of a second source.
DO $migration$
BEGIN
    EXECUTE pg_catalog.replace($create$
        CREATE FUNCTION HOME.token_ledger_set_aside(
            acting_as text, since timestamptz, until timestamptz
        ) RETURNS jsonb
        LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
        DECLARE
            sees_all boolean := has_table_privilege(
                session_user, 'HOME.token_ledger_duplicates'::regclass::oid, 'SELECT'
            );
            organizations text[];
            narrowed text := NULLIF(current_setting('tokenledger.organization', true), '');
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
                    AND COALESCE(duplicates.event ->> 'organization_id'::text = narrowed, true)
            );
        END
        $body$
    $create$, 'HOME', pg_catalog.quote_ident(pg_catalog.current_schema()::text));
END
$migration$;
COMMENT ON FUNCTION token_ledger_set_aside(text, timestamptz, timestamptz) IS
    'How many second reports of calls were set aside, and what they cost by their own count, US dollars';
