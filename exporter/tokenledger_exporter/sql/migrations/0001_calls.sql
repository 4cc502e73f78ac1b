-- The ledger itself: one row per model call, in monthly partitions.

-- An older tracker's table of the same name (it has no usage_hash column) is renamed, not dropped.
DO $$
BEGIN
    IF to_regclass('token_ledger_events') IS NULL THEN
        RETURN;
    END IF;
    IF EXISTS (
        SELECT
        FROM pg_attribute
        WHERE attrelid = to_regclass('token_ledger_events') AND attname = 'usage_hash'
    ) THEN
        RAISE EXCEPTION 'this schema already holds a ledger'
            USING HINT = 'run tokenledger db status';
    END IF;
    IF to_regclass('token_ledger_events_v0') IS NOT NULL THEN
        RAISE EXCEPTION 'token_ledger_events belongs to another tracker, and the name token_ledger_events_v0 is already taken'
            USING HINT = 'rename one of the two tables, then migrate again';
    END IF;
    ALTER TABLE token_ledger_events RENAME TO token_ledger_events_v0;
END
$$;

CREATE TABLE token_ledger_events (
    event_id uuid NOT NULL DEFAULT gen_random_uuid(),
    timestamp timestamptz NOT NULL DEFAULT now(),
    ended_at timestamptz,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    settled boolean NOT NULL DEFAULT true,
    usage_hash bytea NOT NULL DEFAULT '',
    trace_id text NOT NULL DEFAULT '',
    span_id text NOT NULL DEFAULT '',
    scope text NOT NULL DEFAULT '',
    provider text NOT NULL,
    model text NOT NULL,
    request_model text NOT NULL DEFAULT '',
    operation text NOT NULL DEFAULT 'chat',
    endpoint text NOT NULL DEFAULT '',
    response_id text NOT NULL DEFAULT '',
    input_tokens bigint,
    output_tokens bigint,
    total_tokens bigint,
    cached_tokens bigint,
    cache_write_tokens bigint,
    cache_write_1h_tokens bigint,
    reasoning_tokens bigint,
    audio_input_tokens bigint,
    audio_output_tokens bigint,
    image_input_tokens bigint,
    image_output_tokens bigint,
    web_search_requests bigint,
    file_search_requests bigint,
    code_execution_requests bigint,
    cost_usd numeric,
    input_cost_usd numeric,
    cached_cost_usd numeric,
    cache_write_cost_usd numeric,
    output_cost_usd numeric,
    tool_cost_usd numeric,
    cost_status text NOT NULL DEFAULT 'unpriced',
    cost_note text NOT NULL DEFAULT '',
    price_id text NOT NULL DEFAULT '',
    service_tier text NOT NULL DEFAULT '',
    user_id text NOT NULL DEFAULT '',
    session_id text NOT NULL DEFAULT '',
    organization_id text NOT NULL DEFAULT '',
    feature text NOT NULL DEFAULT '',
    team text NOT NULL DEFAULT '',
    project text NOT NULL DEFAULT '',
    cost_center text NOT NULL DEFAULT '',
    agent_id text NOT NULL DEFAULT '',
    app_name text NOT NULL DEFAULT '',
    release text NOT NULL DEFAULT '',
    environment text NOT NULL DEFAULT '',
    status text NOT NULL DEFAULT 'success',
    error_type text NOT NULL DEFAULT '',
    duration_ms double precision,
    time_to_first_token_ms double precision,
    usage jsonb,
    metadata jsonb NOT NULL DEFAULT '{}',
    cached_audio_tokens bigint,
    cached_image_tokens bigint,
    audio_seconds bigint,
    input_characters bigint,
    images bigint,
    reported_cost_usd numeric,
    inference_geo text NOT NULL DEFAULT '',
    details jsonb NOT NULL DEFAULT '{}',
    ancestors uuid[] NOT NULL DEFAULT '{}',
    token_organization_id text NOT NULL DEFAULT '',
    PRIMARY KEY (event_id, timestamp),
    CONSTRAINT cost_status_is_known
    CHECK (cost_status IN ('priced', 'partial', 'estimated', 'unpriced', 'unmeasured')),
    CONSTRAINT cost_usd_and_cost_status_agree
    CHECK ((cost_usd IS NULL) = (cost_status IN ('unpriced', 'unmeasured'))),
    -- NaN and Infinity sort above every number, so one comparison refuses both.
    CONSTRAINT costs_are_finite_and_not_negative
    CHECK (
        (cost_usd >= 0 AND cost_usd < 'Infinity')
        AND (input_cost_usd >= 0 AND input_cost_usd < 'Infinity')
        AND (cached_cost_usd >= 0 AND cached_cost_usd < 'Infinity')
        AND (cache_write_cost_usd >= 0 AND cache_write_cost_usd < 'Infinity')
        AND (output_cost_usd >= 0 AND output_cost_usd < 'Infinity')
        AND (tool_cost_usd >= 0 AND tool_cost_usd < 'Infinity')
    ),
    CONSTRAINT reported_cost_is_finite_and_not_negative
    CHECK (reported_cost_usd >= 0 AND reported_cost_usd < 'Infinity'),
    CONSTRAINT tokens_are_not_negative
    CHECK (
        input_tokens >= 0
        AND output_tokens >= 0
        AND total_tokens >= 0
        AND cached_tokens >= 0
        AND cache_write_tokens >= 0
        AND cache_write_1h_tokens >= 0
        AND reasoning_tokens >= 0
    ),
    CONSTRAINT lengths_are_not_negative
    CHECK (
        cached_audio_tokens >= 0
        AND cached_image_tokens >= 0
        AND audio_seconds >= 0
        AND input_characters >= 0
        AND images >= 0
    ),
    -- One call cannot use more. The bounds keep sums of many calls within a bigint.
    CONSTRAINT counts_are_plausible
    CHECK (
        input_tokens <= 1000000000
        AND output_tokens <= 1000000000
        AND cached_tokens <= 1000000000
        AND cache_write_tokens <= 1000000000
        AND cache_write_1h_tokens <= 1000000000
        AND reasoning_tokens <= 1000000000
        AND audio_input_tokens <= 1000000000
        AND audio_output_tokens <= 1000000000
        AND image_input_tokens <= 1000000000
        AND image_output_tokens <= 1000000000
        AND web_search_requests <= 1000000000
        AND file_search_requests <= 1000000000
        AND code_execution_requests <= 1000000000
        AND audio_seconds <= 1000000000
        AND input_characters <= 1000000000
        AND images <= 1000000000
        AND cached_audio_tokens <= 1000000000
        AND cached_image_tokens <= 1000000000
        AND total_tokens <= 2000000000
    ),
    -- Provider, model and dimension values are in roll-up keys: a B-tree entry holds 2,704 bytes.
    CONSTRAINT names_are_short
    CHECK (
        length(provider) <= 64
        AND length(operation) <= 64
        AND length(service_tier) <= 64
        AND length(inference_geo) <= 64
        AND length(scope) <= 255
        AND length(model) <= 255
        AND length(request_model) <= 255
        AND length(response_id) <= 255
        AND length(error_type) <= 255
        AND length(user_id) <= 255
        AND length(session_id) <= 255
        AND length(organization_id) <= 255
        AND length(project) <= 255
        AND length(feature) <= 255
        AND length(team) <= 255
        AND length(cost_center) <= 255
        AND length(agent_id) <= 255
        AND length(endpoint) <= 255
        AND length(app_name) <= 255
        AND length(release) <= 255
        AND length(environment) <= 255
        AND length(token_organization_id) <= 255
    ),
    CONSTRAINT status_is_known
    CHECK (status IN ('success', 'error')),
    -- NaN sorts above every number, so the comparison refuses it too.
    CONSTRAINT times_are_plausible
    CHECK (
        duration_ms >= 0 AND duration_ms <= 86400000
        AND time_to_first_token_ms >= 0 AND time_to_first_token_ms <= 86400000
    ),
    CONSTRAINT details_are_an_object
    CHECK (jsonb_typeof(details) = 'object'),
    CONSTRAINT metadata_is_an_object
    CHECK (jsonb_typeof(metadata) = 'object')
) PARTITION BY RANGE (timestamp);

COMMENT ON TABLE token_ledger_events IS
'One row per model call. SUM(cost_usd) is the known cost; token_ledger_coverage counts the calls whose cost is NULL';
COMMENT ON COLUMN token_ledger_events.event_id IS 'Identity of the call: a UUIDv8 of its start in milliseconds and a hash of its span, so a resend is the same row';
COMMENT ON COLUMN token_ledger_events.timestamp IS 'When the call started, microseconds, from the span';
COMMENT ON COLUMN token_ledger_events.ended_at IS 'When the call ended, microseconds, from the span';
COMMENT ON COLUMN token_ledger_events.recorded_at IS 'When the row was committed, by this database''s clock';
COMMENT ON COLUMN token_ledger_events.settled IS 'False until the row was checked for a duplicate report of the same call; until then two rows may describe one call';
COMMENT ON COLUMN token_ledger_events.usage_hash IS 'Hash of the billing fields: the same event_id and hash is a resend, another hash is a conflict';
COMMENT ON COLUMN token_ledger_events.trace_id IS 'OpenTelemetry trace id, 32 hexadecimal digits';
COMMENT ON COLUMN token_ledger_events.span_id IS 'OpenTelemetry span id, 16 hexadecimal digits';
COMMENT ON COLUMN token_ledger_events.scope IS 'Instrumentation scope that reported the call';
COMMENT ON COLUMN token_ledger_events.provider IS 'Who bills the call: openai, anthropic, azure, aws, google ...';
COMMENT ON COLUMN token_ledger_events.model IS 'The model that answered; the requested model if none did';
COMMENT ON COLUMN token_ledger_events.request_model IS 'The model that was requested';
COMMENT ON COLUMN token_ledger_events.operation IS 'GenAI operation: chat, text_completion, embeddings, image_generation, transcription, translation, speech, moderation ...';
COMMENT ON COLUMN token_ledger_events.endpoint IS 'Route of the app that made the call';
COMMENT ON COLUMN token_ledger_events.response_id IS 'The provider''s id of the response';
COMMENT ON COLUMN token_ledger_events.input_tokens IS 'Input tokens, including cache reads and writes; NULL if not reported';
COMMENT ON COLUMN token_ledger_events.output_tokens IS 'Output tokens, including reasoning; NULL if not reported';
COMMENT ON COLUMN token_ledger_events.total_tokens IS 'Input plus output tokens';
COMMENT ON COLUMN token_ledger_events.cached_tokens IS 'Input tokens read from a cache; part of input_tokens';
COMMENT ON COLUMN token_ledger_events.cache_write_tokens IS 'Input tokens written to a cache, of every lifetime; part of input_tokens';
COMMENT ON COLUMN token_ledger_events.cache_write_1h_tokens IS 'Tokens written to a cache for an hour; part of cache_write_tokens';
COMMENT ON COLUMN token_ledger_events.reasoning_tokens IS 'Reasoning tokens; part of output_tokens';
COMMENT ON COLUMN token_ledger_events.audio_input_tokens IS 'Audio tokens; part of input_tokens';
COMMENT ON COLUMN token_ledger_events.audio_output_tokens IS 'Audio tokens; part of output_tokens';
COMMENT ON COLUMN token_ledger_events.image_input_tokens IS 'Image tokens; part of input_tokens';
COMMENT ON COLUMN token_ledger_events.image_output_tokens IS 'Image tokens; part of output_tokens';
COMMENT ON COLUMN token_ledger_events.web_search_requests IS 'Billed web searches, requests';
COMMENT ON COLUMN token_ledger_events.file_search_requests IS 'Billed file searches, requests';
COMMENT ON COLUMN token_ledger_events.code_execution_requests IS 'Code executions, requests';
COMMENT ON COLUMN token_ledger_events.cost_usd IS 'Cost of the call, US dollars, exact; NULL if unpriced or unmeasured';
COMMENT ON COLUMN token_ledger_events.input_cost_usd IS 'Part of cost_usd for uncached input, audio seconds, characters and images, US dollars';
COMMENT ON COLUMN token_ledger_events.cached_cost_usd IS 'Part of cost_usd for cache reads, US dollars';
COMMENT ON COLUMN token_ledger_events.cache_write_cost_usd IS 'Part of cost_usd for cache writes, US dollars';
COMMENT ON COLUMN token_ledger_events.output_cost_usd IS 'Part of cost_usd for output, US dollars';
COMMENT ON COLUMN token_ledger_events.tool_cost_usd IS 'Part of cost_usd for provider-run tools and per-request fees, US dollars';
COMMENT ON COLUMN token_ledger_events.cost_status IS 'priced; partial (some usage or price is missing); estimated (output was estimated); unpriced (no price, NULL cost); unmeasured (sent, usage unknown, NULL cost)';
COMMENT ON COLUMN token_ledger_events.cost_note IS 'Why the status is not priced, as text';
COMMENT ON COLUMN token_ledger_events.price_id IS 'Price sheet in token_ledger_prices that the cost was computed from';
COMMENT ON COLUMN token_ledger_events.service_tier IS 'Service tier of the call at the provider: standard, batch, flex, priority ...';
COMMENT ON COLUMN token_ledger_events.user_id IS 'User the call was made for';
COMMENT ON COLUMN token_ledger_events.session_id IS 'Session or conversation';
COMMENT ON COLUMN token_ledger_events.organization_id IS 'Tenant';
COMMENT ON COLUMN token_ledger_events.feature IS 'Product feature';
COMMENT ON COLUMN token_ledger_events.team IS 'Team that owns the feature';
COMMENT ON COLUMN token_ledger_events.project IS 'Project the cost belongs to';
COMMENT ON COLUMN token_ledger_events.cost_center IS 'Cost center the cost belongs to';
COMMENT ON COLUMN token_ledger_events.agent_id IS 'Agent that made the call';
COMMENT ON COLUMN token_ledger_events.app_name IS 'App that made the call (service.name)';
COMMENT ON COLUMN token_ledger_events.release IS 'Release of the app (service.version)';
COMMENT ON COLUMN token_ledger_events.environment IS 'Deployment environment';
COMMENT ON COLUMN token_ledger_events.status IS 'success or error';
COMMENT ON COLUMN token_ledger_events.error_type IS 'Class of the error, never its text';
COMMENT ON COLUMN token_ledger_events.duration_ms IS 'Time from the request to the end of the response, milliseconds; NULL if the emitter''s clock says less than 0 or more than a day';
COMMENT ON COLUMN token_ledger_events.time_to_first_token_ms IS 'Time from the request to the first chunk of a stream, milliseconds; NULL if it is not between 0 and a day';
COMMENT ON COLUMN token_ledger_events.usage IS 'The provider''s own usage object';
COMMENT ON COLUMN token_ledger_events.metadata IS 'Further attribution keys set by the app';
COMMENT ON COLUMN token_ledger_events.cached_audio_tokens IS 'Audio tokens; part of cached_tokens; NULL if the split was not reported';
COMMENT ON COLUMN token_ledger_events.cached_image_tokens IS 'Image tokens; part of cached_tokens; NULL if the split was not reported';
COMMENT ON COLUMN token_ledger_events.audio_seconds IS 'Audio billed by its length, seconds; NULL for calls billed by tokens';
COMMENT ON COLUMN token_ledger_events.input_characters IS 'Text billed by its length (speech), characters; NULL for calls billed by tokens';
COMMENT ON COLUMN token_ledger_events.images IS 'Images in the response';
COMMENT ON COLUMN token_ledger_events.reported_cost_usd IS 'Cost as the provider reported it, US dollars; never part of cost_usd';
COMMENT ON COLUMN token_ledger_events.inference_geo IS 'Where the provider ran the call (us, global), if reported';
COMMENT ON COLUMN token_ledger_events.details IS 'Request settings and circumstances by attribute name; never message content';
COMMENT ON COLUMN token_ledger_events.ancestors IS 'event_id of each enclosing span that may report the same call, nearest first';
COMMENT ON COLUMN token_ledger_events.token_organization_id IS 'Organization that the reporting token is bound to; empty for reports of the operator''s own sources';

-- A BRIN index scans few blocks for a time range; per-user and per-tenant queries use a B-tree.
CREATE INDEX token_ledger_events_time ON token_ledger_events USING brin (timestamp);
CREATE INDEX token_ledger_events_user ON token_ledger_events (user_id, timestamp);
CREATE INDEX token_ledger_events_organization ON token_ledger_events (organization_id, timestamp);
-- Pages of calls in time order. Rows arrive nearly in this order, so the index grows at its right edge.
CREATE INDEX token_ledger_events_page ON token_ledger_events (timestamp, event_id);
-- Two reports of one call start close together. The hour leads the index, so that inserts and lookups
-- stay in the few pages of the current hour, however large the month is. Shorter ids prove nothing:
-- some servers count to 999 and start again.
CREATE INDEX token_ledger_events_response ON token_ledger_events (
    date_trunc('hour', timestamp AT TIME ZONE 'UTC'), (response_id COLLATE "C")
)
WHERE length(response_id) >= 20;

-- A function that runs as its owner must not call a function that somebody else put into the ledger's
-- schema. So its search path is `pg_catalog, pg_temp`, and its body names the schema (HOME), which is
-- the one this migration runs in.
DO $migration$
DECLARE
    home text := pg_catalog.quote_ident(pg_catalog.current_schema()::text);
BEGIN
    EXECUTE pg_catalog.replace($create$
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
        -- COPY goes into the partition, so writers need rights there. Changes go through the parent,
        -- where triggers record them. Readers get nothing: a partition has no row-level security.
        CREATE FUNCTION HOME.token_ledger_grant_partition(partition regclass) RETURNS void
        LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
        DECLARE
            writer record;
            api_role record;
        BEGIN
            FOR writer IN
                SELECT granted.grantee::regrole AS role, granted.privilege_type AS privilege
                FROM pg_class, aclexplode(pg_class.relacl) AS granted
                WHERE
                    pg_class.oid = 'HOME.token_ledger_events'::regclass
                    AND granted.grantee <> 0::oid
                    AND granted.grantee <> pg_class.relowner
                    AND granted.privilege_type IN ('SELECT', 'INSERT')
                    AND has_table_privilege(granted.grantee, pg_class.oid, 'INSERT')
            LOOP
                EXECUTE format('GRANT %s ON %s TO %s', writer.privilege, partition, writer.role);
            END LOOP;
            FOR api_role IN SELECT rolname FROM pg_roles WHERE rolname IN ('anon', 'authenticated') LOOP
                EXECUTE format('REVOKE ALL ON %s FROM %I', partition, api_role.rolname);
            END LOOP;
        END
        $body$
    $create$, 'HOME', home);

    EXECUTE pg_catalog.replace($create$
        CREATE FUNCTION HOME.token_ledger_add_partitions(first_month date, last_month date)
        RETURNS integer
        LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
        DECLARE
            month timestamp := date_trunc('month', first_month::timestamp);
            today timestamp := now() AT TIME ZONE 'UTC';
            partition text;
            created integer := 0;
        BEGIN
            IF last_month::timestamp > first_month::timestamp + interval '100 years' THEN
                RAISE EXCEPTION 'one call cannot create more than a hundred years of partitions'
                    USING HINT = 'pass a shorter period';
            END IF;
            IF
                NOT HOME.token_ledger_is_owner()
                AND (
                    first_month < date '2015-01-01'
                    OR last_month::timestamp > today + interval '4 months'
                    OR last_month::timestamp > first_month::timestamp + interval '12 months'
                )
            THEN
                RAISE EXCEPTION 'only the tables'' owner may create partitions from % to %', first_month, last_month
                    USING
                        ERRCODE = 'insufficient_privilege',
                        HINT = 'other roles may create months from 2015 to four months ahead, twelve at once';
            END IF;
            WHILE month <= last_month::timestamp LOOP
                partition := 'token_ledger_events_' || to_char(month, 'YYYY_MM');
                IF to_regclass('HOME.' || quote_ident(partition)) IS NULL THEN
                    -- Bounds are UTC, whatever the session's time zone is.
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
                    created := created + 1;
                END IF;
                month := month + interval '1 month';
            END LOOP;
            RETURN created;
        END
        $body$
    $create$, 'HOME', home);

    EXECUTE pg_catalog.replace($create$
        -- Writers may not delete calls. They may delete a row that only says a call was sent, once its
        -- measured report is there.
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
                RAISE EXCEPTION '% is not a partition of token_ledger_events', partition
                    USING ERRCODE = 'insufficient_privilege', HINT = 'pass one of its partitions';
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
COMMENT ON FUNCTION token_ledger_is_owner() IS
'Whether the session''s user owns the ledger''s tables or is a member of the owner';
COMMENT ON FUNCTION token_ledger_grant_partition(regclass) IS
'Gives a partition the grants that writers have on token_ledger_events';
COMMENT ON FUNCTION token_ledger_add_partitions(date, date) IS
'Creates missing monthly partitions of token_ledger_events; returns how many it created';
COMMENT ON FUNCTION token_ledger_drop_unmeasured(regclass, uuid[]) IS
'Deletes rows that only say a call was sent; returns when each call started';
REVOKE ALL ON FUNCTION token_ledger_grant_partition(regclass) FROM PUBLIC;
REVOKE ALL ON FUNCTION token_ledger_add_partitions(date, date) FROM PUBLIC;
REVOKE ALL ON FUNCTION token_ledger_drop_unmeasured(regclass, uuid[]) FROM PUBLIC;

-- Last month for calls that waited in a spool, this month, and three ahead.
SELECT token_ledger_add_partitions(
    ((now() AT TIME ZONE 'UTC') - interval '1 month')::date,
    ((now() AT TIME ZONE 'UTC') + interval '3 months')::date
);
