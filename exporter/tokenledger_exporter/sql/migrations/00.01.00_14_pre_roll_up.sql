-- Sums by slice, hour and day that are the same as the rows' in every snapshot, and views that read them.
-- Release 00.01.00, step 14, safe before the new code runs: until a keeper has built them, views read rows.

-- Long, not wide: one row a dimension and value, so that their number is the sum of the dimensions'
-- values and not their product. Every level has the same columns; a higher one is the sum of a lower.
CREATE TABLE token_ledger_rollup_slices (
    bucket timestamptz NOT NULL,
    dimension text NOT NULL,
    value text NOT NULL,
    provider text NOT NULL,
    model text NOT NULL,
    calls bigint NOT NULL,
    input_tokens bigint NOT NULL,
    output_tokens bigint NOT NULL,
    total_tokens bigint NOT NULL,
    cached_tokens bigint NOT NULL,
    cost_usd numeric NOT NULL,
    errors bigint NOT NULL,
    priced bigint NOT NULL,
    partial bigint NOT NULL,
    estimated bigint NOT NULL,
    unpriced bigint NOT NULL,
    unmeasured bigint NOT NULL,
    not_settled bigint NOT NULL,
    PRIMARY KEY (bucket, dimension, value, provider, model)
) WITH (fillfactor = 80);
COMMENT ON TABLE token_ledger_rollup_slices IS 'Sums by two seconds of the last one or two hours: what the keeper recomputes when a slice changed';
COMMENT ON COLUMN token_ledger_rollup_slices.bucket IS 'Start of the slice';
COMMENT ON COLUMN token_ledger_rollup_slices.dimension IS 'Name of the dimension; empty for all calls of a provider and model';
COMMENT ON COLUMN token_ledger_rollup_slices.value IS 'Its value';
COMMENT ON COLUMN token_ledger_rollup_slices.provider IS 'Who billed; empty where dimension is user, which is not divided by it';
COMMENT ON COLUMN token_ledger_rollup_slices.model IS 'Model that answered; empty where dimension is user';
COMMENT ON COLUMN token_ledger_rollup_slices.calls IS 'Model calls';
COMMENT ON COLUMN token_ledger_rollup_slices.input_tokens IS 'Tokens in, cached ones included';
COMMENT ON COLUMN token_ledger_rollup_slices.output_tokens IS 'Tokens out, reasoning included';
COMMENT ON COLUMN token_ledger_rollup_slices.total_tokens IS 'Tokens in and out, as the calls tell it';
COMMENT ON COLUMN token_ledger_rollup_slices.cached_tokens IS 'Input tokens served from a cache';
COMMENT ON COLUMN token_ledger_rollup_slices.cost_usd IS 'Known cost, US dollars';
COMMENT ON COLUMN token_ledger_rollup_slices.errors IS 'Calls that failed';
COMMENT ON COLUMN token_ledger_rollup_slices.priced IS 'Calls whose cost_status is priced';
COMMENT ON COLUMN token_ledger_rollup_slices.partial IS 'Calls whose cost_status is partial';
COMMENT ON COLUMN token_ledger_rollup_slices.estimated IS 'Calls whose cost_status is estimated';
COMMENT ON COLUMN token_ledger_rollup_slices.unpriced IS 'Calls whose cost_status is unpriced';
COMMENT ON COLUMN token_ledger_rollup_slices.unmeasured IS 'Calls whose cost_status is unmeasured';
COMMENT ON COLUMN token_ledger_rollup_slices.not_settled IS 'Calls that another row may tell of a second time, until a keeper has looked';

CREATE TABLE token_ledger_rollup_hours (
    LIKE token_ledger_rollup_slices INCLUDING COMMENTS,
    PRIMARY KEY (bucket, dimension, value, provider, model)
) WITH (fillfactor = 80);
COMMENT ON TABLE token_ledger_rollup_hours IS 'Sums by hour, UTC; kept when retention lets the calls go';
COMMENT ON COLUMN token_ledger_rollup_hours.bucket IS 'Start of the hour';

CREATE TABLE token_ledger_rollup_days (
    LIKE token_ledger_rollup_slices INCLUDING COMMENTS,
    PRIMARY KEY (dimension, bucket, value, provider, model)
) WITH (fillfactor = 80);
ALTER TABLE token_ledger_rollup_days ALTER COLUMN bucket TYPE date;
COMMENT ON TABLE token_ledger_rollup_days IS 'Sums by day, UTC; kept when retention lets the calls go';
COMMENT ON COLUMN token_ledger_rollup_days.bucket IS 'The day';
-- One value over many days.
CREATE INDEX token_ledger_rollup_days_value ON token_ledger_rollup_days (dimension, value, bucket);

-- What the roll-ups hold. Who does not see this row, or not the roll-ups, reads the calls themselves.
CREATE TABLE token_ledger_rollup_state (
    is_one boolean NOT NULL DEFAULT true,
    since timestamptz NOT NULL,
    hot_since timestamptz NOT NULL,
    frozen_before timestamptz NOT NULL DEFAULT '-infinity',
    PRIMARY KEY (is_one),
    CONSTRAINT there_is_one CHECK (is_one)
);
COMMENT ON TABLE token_ledger_rollup_state IS 'One row: which calls are in the roll-ups';
COMMENT ON COLUMN token_ledger_rollup_state.is_one IS 'True; keeps it to one row';
COMMENT ON COLUMN token_ledger_rollup_state.since IS 'Calls from here on are rolled up, earlier ones are read as they are; a day''s start, UTC';
COMMENT ON COLUMN token_ledger_rollup_state.hot_since IS 'From here on there are slices; an hour''s start. A change before it recomputes its hour';
COMMENT ON COLUMN token_ledger_rollup_state.frozen_before IS 'Before this, retention let the calls go: the roll-ups are all there is and are never recomputed';

-- Slices whose calls changed since they were rolled up. No key: a unique mark makes writers wait for
-- each other. Whoever changes calls adds marks in the same transaction, so that every snapshot has
-- either both or neither.
CREATE TABLE token_ledger_rollup_marks (
    bucket timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE token_ledger_rollup_marks IS 'Slices whose roll-up is out of date: read from the calls until the keeper has recomputed it';
COMMENT ON COLUMN token_ledger_rollup_marks.bucket IS 'Start of the slice of two seconds';
COMMENT ON COLUMN token_ledger_rollup_marks.recorded_at IS 'When the calls changed';

CREATE FUNCTION token_ledger_slice(moment timestamptz) RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT date_bin(interval '2 seconds', moment, timestamptz '2000-01-01 00:00:00+00')
$$;
COMMENT ON FUNCTION token_ledger_slice(timestamptz) IS 'Start of the slice a moment is in';

-- Marks what a statement on token_ledger_events changed: settling, repricing, purging, erasing, and
-- whatever somebody does by hand. Writers COPY into a partition, where there is no trigger, and mark
-- by themselves. It acts as the tables' owner: who may change calls need not know of marks.
CREATE FUNCTION token_ledger_mark_changes() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    IF TG_OP IN ('DELETE', 'UPDATE') THEN
        INSERT INTO token_ledger_rollup_marks (bucket)
        SELECT DISTINCT token_ledger_slice(timestamp) FROM before_it;
    END IF;
    IF TG_OP IN ('INSERT', 'UPDATE') THEN
        INSERT INTO token_ledger_rollup_marks (bucket)
        SELECT DISTINCT token_ledger_slice(timestamp) FROM after_it;
    END IF;
    IF TG_OP = 'TRUNCATE' THEN
        INSERT INTO token_ledger_rollup_marks (bucket)
        SELECT bucket FROM token_ledger_rollup_slices
        UNION
        SELECT bucket FROM token_ledger_rollup_hours;
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION token_ledger_mark_changes() IS 'Marks the slices whose calls a statement changed';
CREATE TRIGGER token_ledger_mark_inserted AFTER INSERT ON token_ledger_events
REFERENCING NEW TABLE AS after_it FOR EACH STATEMENT EXECUTE FUNCTION token_ledger_mark_changes();
CREATE TRIGGER token_ledger_mark_updated AFTER UPDATE ON token_ledger_events
REFERENCING OLD TABLE AS before_it NEW TABLE AS after_it
FOR EACH STATEMENT EXECUTE FUNCTION token_ledger_mark_changes();
CREATE TRIGGER token_ledger_mark_deleted AFTER DELETE ON token_ledger_events
REFERENCING OLD TABLE AS before_it FOR EACH STATEMENT EXECUTE FUNCTION token_ledger_mark_changes();
CREATE TRIGGER token_ledger_mark_truncated AFTER TRUNCATE ON token_ledger_events
FOR EACH STATEMENT EXECUTE FUNCTION token_ledger_mark_changes();

-- An empty ledger is rolled up from its first call on; of another, the keeper builds the past.
INSERT INTO token_ledger_rollup_state (since, hot_since)
SELECT
    CASE WHEN EXISTS (SELECT FROM token_ledger_events) THEN 'infinity' ELSE '-infinity' END::timestamptz,
    CASE
        WHEN EXISTS (SELECT FROM token_ledger_events) THEN 'infinity'
        ELSE date_trunc('hour', now(), 'UTC')
    END;

-- What is out of date: a slice where there are slices, else the hour it is in.
CREATE VIEW token_ledger_rollup_stale WITH (security_invoker = true) AS
SELECT DISTINCT
    CASE
        WHEN marks.bucket >= state.hot_since THEN marks.bucket
        ELSE date_trunc('hour', marks.bucket, 'UTC')
    END AS bucket,
    CASE
        WHEN marks.bucket >= state.hot_since THEN marks.bucket + interval '2 seconds'
        ELSE date_trunc('hour', marks.bucket, 'UTC') + interval '1 hour'
    END AS until,
    marks.bucket >= state.hot_since AS is_hot
FROM token_ledger_rollup_marks AS marks
CROSS JOIN token_ledger_rollup_state AS state
WHERE marks.bucket >= state.since AND marks.bucket >= state.frozen_before;
COMMENT ON VIEW token_ledger_rollup_stale IS 'Stretches of time whose roll-up is out of date; whoever sums takes it off and the calls instead';
COMMENT ON COLUMN token_ledger_rollup_stale.bucket IS 'Start of the slice or hour';
COMMENT ON COLUMN token_ledger_rollup_stale.until IS 'Its end, not included';
COMMENT ON COLUMN token_ledger_rollup_stale.is_hot IS 'Whether it is a slice';

-- The views by dimension: days, less what is out of date, and its calls instead; and calls of before
-- the roll-ups begin. One statement, so one snapshot: exact in each.
DO $$
DECLARE
    known record;
    figures text := 'calls, input_tokens, output_tokens, cached_tokens, cost_usd, priced, partial, '
        'estimated, unpriced, unmeasured, not_settled';
    taken_off text := '-r.' || replace(figures, ', ', ', -r.');
    of_a_call text := '1, COALESCE(e.input_tokens, 0), COALESCE(e.output_tokens, 0), '
        'COALESCE(e.cached_tokens, 0), COALESCE(e.cost_usd, 0), ';
    state text;
    labels text;
    label text;
    stored text;
    calls text;
    parts text;
BEGIN
    FOREACH state IN ARRAY ARRAY['priced', 'partial', 'estimated', 'unpriced', 'unmeasured'] LOOP
        of_a_call := of_a_call || format('(e.cost_status = %L)::int, ', state);
    END LOOP;
    of_a_call := of_a_call || '(NOT e.settled)::int';
    FOR known IN
        SELECT * FROM (VALUES
            ('token_ledger_daily_costs', '', 'provider, model'),
            ('token_ledger_model_costs', '', 'provider, model'),
            ('token_ledger_user_costs', 'user', 'user_id'),
            ('token_ledger_feature_costs', 'feature', 'feature'),
            ('token_ledger_team_costs', 'team', 'team'),
            ('token_ledger_project_costs', 'project', 'project'),
            ('token_ledger_cost_center_costs', 'cost_center', 'cost_center'),
            ('token_ledger_agent_costs', 'agent', 'agent_id'),
            ('token_ledger_endpoint_costs', 'endpoint', 'endpoint'),
            ('token_ledger_organization_costs', 'organization', 'organization_id'),
            ('token_ledger_coverage', '', '')
        ) AS views (name, dimension, columns)
    LOOP
        labels := '';
        stored := '';
        calls := '';
        FOREACH label IN ARRAY string_to_array(known.columns, ', ') LOOP
            labels := labels || label || ', ';
            stored := stored || format(
                CASE WHEN known.dimension = '' THEN 'r.%I, ' ELSE 'r.value AS %I, ' END, label
            );
            calls := calls || format('e.%I, ', label);
        END LOOP;
        parts := format(
            'SELECT r.bucket AS day, %2$s%3$s FROM token_ledger_rollup_days AS r '
            'WHERE r.dimension = %1$L AND EXISTS (SELECT FROM token_ledger_rollup_state) '
            'UNION ALL '
            'SELECT (r.bucket AT TIME ZONE ''UTC'')::date, %2$s%4$s FROM token_ledger_rollup_stale AS stale '
            'INNER JOIN token_ledger_rollup_slices AS r ON r.bucket = stale.bucket '
            'WHERE stale.is_hot AND r.dimension = %1$L '
            'UNION ALL '
            'SELECT (r.bucket AT TIME ZONE ''UTC'')::date, %2$s%4$s FROM token_ledger_rollup_stale AS stale '
            'INNER JOIN token_ledger_rollup_hours AS r ON r.bucket = stale.bucket '
            'WHERE NOT stale.is_hot AND r.dimension = %1$L '
            'UNION ALL '
            'SELECT (e.timestamp AT TIME ZONE ''UTC'')::date, %5$s%6$s FROM token_ledger_rollup_stale AS stale '
            'CROSS JOIN LATERAL (SELECT * FROM token_ledger_events AS found '
            'WHERE found.timestamp >= stale.bucket AND found.timestamp < stale.until OFFSET 0) AS e '
            'UNION ALL '
            'SELECT (e.timestamp AT TIME ZONE ''UTC'')::date, %5$s%6$s FROM token_ledger_events AS e '
            'WHERE COALESCE((SELECT since FROM token_ledger_rollup_state), ''infinity'') > ''-infinity'' '
            'AND e.timestamp < COALESCE((SELECT since FROM token_ledger_rollup_state), ''infinity'')',
            known.dimension, stored, 'r.' || replace(figures, ', ', ', r.'), taken_off, calls, of_a_call
        );
        IF known.name <> 'token_ledger_coverage' THEN
            EXECUTE format(
                'CREATE OR REPLACE VIEW %I WITH (security_invoker = true) AS '
                'SELECT day, %ssum(calls)::bigint AS calls, sum(input_tokens) AS input_tokens, '
                'sum(output_tokens) AS output_tokens, sum(cached_tokens) AS cached_tokens, '
                'sum(cost_usd) AS cost_usd, sum(unpriced + unmeasured)::bigint AS calls_without_cost, '
                'sum(priced)::bigint AS priced, sum(partial)::bigint AS partial, '
                'sum(estimated)::bigint AS estimated, sum(unpriced)::bigint AS unpriced, '
                'sum(unmeasured)::bigint AS unmeasured, sum(not_settled)::bigint AS not_settled '
                'FROM (%s) AS parts GROUP BY %s day HAVING sum(calls) <> 0',
                known.name, labels, parts, labels
            );
        ELSE
            EXECUTE format(
                'CREATE OR REPLACE VIEW %I WITH (security_invoker = true) AS '
                'SELECT day, sum(calls)::bigint AS calls, sum(priced)::bigint AS priced, '
                'sum(partial)::bigint AS partial, sum(estimated)::bigint AS estimated, '
                'sum(unpriced)::bigint AS unpriced, sum(unmeasured)::bigint AS unmeasured, '
                'sum(not_settled)::bigint AS not_settled, sum(lost)::bigint AS lost '
                'FROM (SELECT parts.*, 0::bigint AS lost FROM (%s) AS parts UNION ALL '
                'SELECT (recorded_at AT TIME ZONE ''UTC'')::date, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, records '
                'FROM token_ledger_losses) AS counted GROUP BY day '
                'HAVING sum(calls) <> 0 OR sum(lost) <> 0',
                known.name, parts
            );
        END IF;
    END LOOP;
END
$$;

-- Whoever may read calls may read roll-ups, and whoever may change calls may keep them. Where rows are
-- shown by policy, roll-ups are too: 'tokenledger db roles' says who reads them, and until it has run
-- again nobody but the owner, writer and keeper does; the others' answers are made of calls.
DO $$
DECLARE
    known record;
    rollup text;
BEGIN
    FOREACH rollup IN ARRAY ARRAY[
        'token_ledger_rollup_slices', 'token_ledger_rollup_hours', 'token_ledger_rollup_days',
        'token_ledger_rollup_state', 'token_ledger_rollup_marks'
    ] LOOP
        FOR known IN
            SELECT
                CASE granted.grantee
                    WHEN 0 THEN 'PUBLIC'
                    ELSE granted.grantee::regrole::text
                END AS role,
                granted.privilege_type AS privilege
            FROM pg_class, aclexplode(pg_class.relacl) AS granted
            WHERE
                pg_class.oid = 'token_ledger_events'::regclass
                AND granted.grantee <> pg_class.relowner
                AND (
                    granted.privilege_type = 'SELECT'
                    OR (granted.privilege_type = 'INSERT' AND rollup = 'token_ledger_rollup_marks')
                    OR CASE
                        WHEN granted.grantee = 0 THEN false
                        ELSE
                            granted.privilege_type IN ('INSERT', 'UPDATE', 'DELETE')
                            AND has_table_privilege(granted.grantee, pg_class.oid, 'UPDATE')
                    END
                )
        LOOP
            EXECUTE format('GRANT %s ON %I TO %s', known.privilege, rollup, known.role);
            EXECUTE format('GRANT SELECT ON token_ledger_rollup_stale TO %s', known.role);
        END LOOP;
        IF (SELECT relrowsecurity FROM pg_class WHERE oid = 'token_ledger_events'::regclass) THEN
            EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', rollup);
        END IF;
        FOR known IN
            SELECT
                polname,
                array_to_string(ARRAY(SELECT role::regrole::text FROM unnest(polroles) AS role), ', ')
                    AS roles
            FROM pg_policy
            WHERE polrelid = 'token_ledger_events'::regclass AND polcmd = '*' AND polroles <> '{0}'
        LOOP
            EXECUTE format(
                'CREATE POLICY %I ON %I TO %s USING (true) WITH CHECK (true)',
                known.polname, rollup, known.roles
            );
        END LOOP;
    END LOOP;
    EXECUTE format(
        'ALTER FUNCTION token_ledger_mark_changes() SET search_path = %I, pg_temp', current_schema()
    );
END
$$;
REVOKE ALL ON FUNCTION token_ledger_mark_changes() FROM PUBLIC;
