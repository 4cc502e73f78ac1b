-- Sums by week, made of days that are over: a month of many users is read in a fourth of the rows.
-- Release 00.01.00, step 16, safe before the new code runs: until a keeper has made weeks, days are read.

CREATE TABLE token_ledger_rollup_weeks (
    LIKE token_ledger_rollup_days INCLUDING COMMENTS,
    PRIMARY KEY (dimension, bucket, value, provider, model)
) WITH (fillfactor = 80);
COMMENT ON TABLE token_ledger_rollup_weeks IS 'Sums by week, UTC, of its days before weeks_until; kept when retention lets the calls go';
COMMENT ON COLUMN token_ledger_rollup_weeks.bucket IS 'The week''s Monday';
-- One value over many weeks.
CREATE INDEX token_ledger_rollup_weeks_value ON token_ledger_rollup_weeks (dimension, value, bucket);

ALTER TABLE token_ledger_rollup_state ADD COLUMN weeks_until date NOT NULL DEFAULT '-infinity';
COMMENT ON COLUMN token_ledger_rollup_state.weeks_until IS 'Days before this are in the weeks, later ones are not yet';

-- Whoever may read or keep days may do the same with weeks, by the same policies.
DO $$
DECLARE
    known record;
    whom text;
BEGIN
    FOR known IN
        SELECT
            CASE granted.grantee WHEN 0 THEN 'PUBLIC' ELSE granted.grantee::regrole::text END AS role,
            granted.privilege_type AS privilege
        FROM pg_class, aclexplode(pg_class.relacl) AS granted
        WHERE
            pg_class.oid = 'token_ledger_rollup_days'::regclass
            AND granted.grantee <> pg_class.relowner
    LOOP
        EXECUTE format('GRANT %s ON token_ledger_rollup_weeks TO %s', known.privilege, known.role);
    END LOOP;
    IF (SELECT relrowsecurity FROM pg_class WHERE oid = 'token_ledger_rollup_days'::regclass) THEN
        ALTER TABLE token_ledger_rollup_weeks ENABLE ROW LEVEL SECURITY;
    END IF;
    FOR known IN
        SELECT policyname, roles, cmd, qual, with_check
        FROM pg_policies
        WHERE schemaname = current_schema() AND tablename = 'token_ledger_rollup_days'
    LOOP
        SELECT string_agg(quote_ident(role), ', ') INTO whom FROM unnest(known.roles) AS role;
        EXECUTE format(
            'CREATE POLICY %I ON token_ledger_rollup_weeks FOR %s TO %s%s%s',
            known.policyname, known.cmd, whom,
            ' USING (' || known.qual || ')', ' WITH CHECK (' || known.with_check || ')'
        );
    END LOOP;
END
$$;
