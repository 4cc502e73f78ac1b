-- The ledger, the tables beside it, and its first partitions.
-- Release 00.01.00, step 01, safe before the new code runs.

-- An older tracker's table of this name (no usage_hash column) is kept under another name.
DO $$
BEGIN
    IF to_regclass('token_ledger_events') IS NULL THEN
        RETURN;
    END IF;
    IF to_regclass('token_ledger_events_v0') IS NOT NULL THEN
        RAISE EXCEPTION 'token_ledger_events is not ours and token_ledger_events_v0 is already taken'
            USING HINT = 'rename one of the two, then migrate again';
    END IF;
    ALTER TABLE token_ledger_events RENAME TO token_ledger_events_v0;
END
$$;

-- One row per model call.
CREATE TABLE token_ledger_events (
    event_id uuid NOT NULL DEFAULT gen_random_uuid(),
    timestamp timestamptz NOT NULL DEFAULT now(),
    ended_at timestamptz,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    settled boolean NOT NULL DEFAULT false,
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
    CONSTRAINT status_is_known
        CHECK (status IN ('success', 'error'))
) PARTITION BY RANGE (timestamp);

COMMENT ON TABLE token_ledger_events IS
    'One row per model call. SUM(cost_usd) is the money known; NULL costs are counted in token_ledger_coverage.';
COMMENT ON COLUMN token_ledger_events.event_id IS 'Identity of the call: UUIDv8 of its start in milliseconds and a hash of its span, so a resend is the same row';
COMMENT ON COLUMN token_ledger_events.timestamp IS 'When the call started, microseconds, from the span';
COMMENT ON COLUMN token_ledger_events.ended_at IS 'When the call ended, microseconds, from the span';
COMMENT ON COLUMN token_ledger_events.recorded_at IS 'When the row was committed, by this database''s clock';
COMMENT ON COLUMN token_ledger_events.settled IS 'False until a keeper has looked for a second span of the same call from another process';
COMMENT ON COLUMN token_ledger_events.usage_hash IS 'Hash of the billing fields: same event_id and hash is a resend, another hash is a conflict';
COMMENT ON COLUMN token_ledger_events.trace_id IS 'OpenTelemetry trace id, 32 hexadecimal digits';
COMMENT ON COLUMN token_ledger_events.span_id IS 'OpenTelemetry span id, 16 hexadecimal digits';
COMMENT ON COLUMN token_ledger_events.scope IS 'Instrumentation scope that told of the call';
COMMENT ON COLUMN token_ledger_events.provider IS 'Who billed the call: openai, anthropic, azure, aws, google ...';
COMMENT ON COLUMN token_ledger_events.model IS 'The model that answered; the requested one if none did';
COMMENT ON COLUMN token_ledger_events.request_model IS 'The model that was asked for';
COMMENT ON COLUMN token_ledger_events.operation IS 'GenAI operation: chat, embeddings, text_completion ...';
COMMENT ON COLUMN token_ledger_events.endpoint IS 'The app''s own route that led to the call';
COMMENT ON COLUMN token_ledger_events.response_id IS 'The provider''s id of the answer';
COMMENT ON COLUMN token_ledger_events.input_tokens IS 'Tokens in, including cache reads and writes; NULL if not reported';
COMMENT ON COLUMN token_ledger_events.output_tokens IS 'Tokens out, including reasoning; NULL if not reported';
COMMENT ON COLUMN token_ledger_events.total_tokens IS 'Input plus output tokens';
COMMENT ON COLUMN token_ledger_events.cached_tokens IS 'Input tokens served from a cache; within input_tokens';
COMMENT ON COLUMN token_ledger_events.cache_write_tokens IS 'Input tokens written to a cache, every lifetime; within input_tokens';
COMMENT ON COLUMN token_ledger_events.cache_write_1h_tokens IS 'Cache writes kept an hour; within cache_write_tokens';
COMMENT ON COLUMN token_ledger_events.reasoning_tokens IS 'Reasoning tokens; within output_tokens';
COMMENT ON COLUMN token_ledger_events.audio_input_tokens IS 'Audio tokens within input_tokens';
COMMENT ON COLUMN token_ledger_events.audio_output_tokens IS 'Audio tokens within output_tokens';
COMMENT ON COLUMN token_ledger_events.image_input_tokens IS 'Image tokens within input_tokens';
COMMENT ON COLUMN token_ledger_events.image_output_tokens IS 'Image tokens within output_tokens';
COMMENT ON COLUMN token_ledger_events.web_search_requests IS 'Billed web searches, requests';
COMMENT ON COLUMN token_ledger_events.file_search_requests IS 'Billed file searches, requests';
COMMENT ON COLUMN token_ledger_events.code_execution_requests IS 'Code executions, requests';
COMMENT ON COLUMN token_ledger_events.cost_usd IS 'What the call cost, US dollars, exact; NULL if unpriced or unmeasured';
COMMENT ON COLUMN token_ledger_events.input_cost_usd IS 'Part of cost_usd for uncached input, US dollars';
COMMENT ON COLUMN token_ledger_events.cached_cost_usd IS 'Part of cost_usd for cache reads, US dollars';
COMMENT ON COLUMN token_ledger_events.cache_write_cost_usd IS 'Part of cost_usd for cache writes, US dollars';
COMMENT ON COLUMN token_ledger_events.output_cost_usd IS 'Part of cost_usd for output, US dollars';
COMMENT ON COLUMN token_ledger_events.tool_cost_usd IS 'Part of cost_usd for provider-run tools and per-request fees, US dollars';
COMMENT ON COLUMN token_ledger_events.cost_status IS 'priced; partial (some usage missing); estimated; unpriced (no price, NULL cost); unmeasured (sent, never measured, NULL cost)';
COMMENT ON COLUMN token_ledger_events.cost_note IS 'Why the cost is not simply priced, in words';
COMMENT ON COLUMN token_ledger_events.price_id IS 'The price sheet of token_ledger_prices the cost was computed from';
COMMENT ON COLUMN token_ledger_events.service_tier IS 'Tier the provider served the call on: standard, batch, flex, priority ...';
COMMENT ON COLUMN token_ledger_events.user_id IS 'Whom the call was made for';
COMMENT ON COLUMN token_ledger_events.session_id IS 'Session or conversation';
COMMENT ON COLUMN token_ledger_events.organization_id IS 'Tenant';
COMMENT ON COLUMN token_ledger_events.feature IS 'Product feature';
COMMENT ON COLUMN token_ledger_events.team IS 'Team that owns the feature';
COMMENT ON COLUMN token_ledger_events.project IS 'Project the cost belongs to';
COMMENT ON COLUMN token_ledger_events.cost_center IS 'Cost centre the cost belongs to';
COMMENT ON COLUMN token_ledger_events.agent_id IS 'Agent that made the call';
COMMENT ON COLUMN token_ledger_events.app_name IS 'App that made the call (service.name)';
COMMENT ON COLUMN token_ledger_events.release IS 'Release of the app (service.version)';
COMMENT ON COLUMN token_ledger_events.environment IS 'Deployment environment';
COMMENT ON COLUMN token_ledger_events.status IS 'success or error';
COMMENT ON COLUMN token_ledger_events.error_type IS 'Class of the error, never its text';
COMMENT ON COLUMN token_ledger_events.duration_ms IS 'From request to the end of the answer, milliseconds';
COMMENT ON COLUMN token_ledger_events.time_to_first_token_ms IS 'From request to the first chunk of a stream, milliseconds';
COMMENT ON COLUMN token_ledger_events.usage IS 'The provider''s own usage object';
COMMENT ON COLUMN token_ledger_events.metadata IS 'Further keys the app attributed the call by';

-- Time ranges scan few blocks; per-user and per-tenant questions walk a btree.
CREATE INDEX token_ledger_events_time ON token_ledger_events USING brin (timestamp);
CREATE INDEX token_ledger_events_user ON token_ledger_events (user_id, timestamp);
CREATE INDEX token_ledger_events_organization ON token_ledger_events (organization_id, timestamp);

-- Makes the monthly partitions from one month to another, where they are missing.
CREATE FUNCTION token_ledger_add_partitions(first_month date, last_month date) RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
    month date := date_trunc('month', first_month)::date;
    partition text;
    made integer := 0;
BEGIN
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
            made := made + 1;
        END IF;
        month := (month + interval '1 month')::date;
    END LOOP;
    RETURN made;
END
$$;
COMMENT ON FUNCTION token_ledger_add_partitions(date, date) IS
    'Makes missing monthly partitions of token_ledger_events; returns how many it made';

-- Last month for what waited in a spool, this one, and three ahead.
SELECT token_ledger_add_partitions(
    ((now() AT TIME ZONE 'UTC') - interval '1 month')::date,
    ((now() AT TIME ZONE 'UTC') + interval '3 months')::date
);

-- A second span of a call that another row already tells of.
CREATE TABLE token_ledger_duplicates (
    event_id uuid NOT NULL,
    winner_event_id uuid NOT NULL,
    reason text NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    event jsonb NOT NULL,
    PRIMARY KEY (event_id)
);
COMMENT ON TABLE token_ledger_duplicates IS 'Spans that told of a call another row already holds; never part of a sum';
COMMENT ON COLUMN token_ledger_duplicates.event_id IS 'Identity of the span that lost';
COMMENT ON COLUMN token_ledger_duplicates.winner_event_id IS 'The row of token_ledger_events that stands for the call';
COMMENT ON COLUMN token_ledger_duplicates.reason IS 'Which rule found it';
COMMENT ON COLUMN token_ledger_duplicates.recorded_at IS 'When it was set aside';
COMMENT ON COLUMN token_ledger_duplicates.event IS 'The whole row as it would have been';

-- Same identity, other billing content: kept, never merged silently.
CREATE TABLE token_ledger_conflicts (
    event_id uuid NOT NULL,
    usage_hash bytea NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    event jsonb NOT NULL,
    PRIMARY KEY (event_id, usage_hash)
);
COMMENT ON TABLE token_ledger_conflicts IS 'Rows whose event_id is already in the ledger with other billing fields';
COMMENT ON COLUMN token_ledger_conflicts.event_id IS 'The identity both claim';
COMMENT ON COLUMN token_ledger_conflicts.usage_hash IS 'Hash of the billing fields of the row kept here';
COMMENT ON COLUMN token_ledger_conflicts.recorded_at IS 'When it was set aside';
COMMENT ON COLUMN token_ledger_conflicts.event IS 'The whole row as it would have been';

-- Rows the ledger cannot take, with the reason.
CREATE TABLE token_ledger_rejected (
    event_id uuid NOT NULL,
    reason text NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    event jsonb NOT NULL,
    PRIMARY KEY (event_id)
);
COMMENT ON TABLE token_ledger_rejected IS 'Rows the ledger could not take; nothing is dropped silently';
COMMENT ON COLUMN token_ledger_rejected.event_id IS 'Identity of the rejected row';
COMMENT ON COLUMN token_ledger_rejected.reason IS 'Why it was rejected';
COMMENT ON COLUMN token_ledger_rejected.recorded_at IS 'When it was set aside';
COMMENT ON COLUMN token_ledger_rejected.event IS 'The row, cleaned of what Postgres cannot hold';

-- Counted losses: calls known to have happened whose record is gone.
CREATE TABLE token_ledger_losses (
    loss_id uuid NOT NULL DEFAULT gen_random_uuid(),
    recorded_at timestamptz NOT NULL DEFAULT now(),
    app_name text NOT NULL DEFAULT '',
    reason text NOT NULL,
    records bigint NOT NULL,
    PRIMARY KEY (loss_id)
);
COMMENT ON TABLE token_ledger_losses IS 'Records that could not be kept, counted';
COMMENT ON COLUMN token_ledger_losses.loss_id IS 'Identity of the count';
COMMENT ON COLUMN token_ledger_losses.recorded_at IS 'When the count was written';
COMMENT ON COLUMN token_ledger_losses.app_name IS 'App that counted it';
COMMENT ON COLUMN token_ledger_losses.reason IS 'What went wrong';
COMMENT ON COLUMN token_ledger_losses.records IS 'How many records';

-- Effective-dated list prices: one sheet (price_id) per model, tier and period, one row per kind.
CREATE TABLE token_ledger_prices (
    price_id text NOT NULL,
    kind text NOT NULL,
    above_input_tokens bigint NOT NULL DEFAULT 0,
    provider text NOT NULL,
    model text NOT NULL,
    model_pattern text NOT NULL,
    match_order integer NOT NULL,
    tier text NOT NULL DEFAULT 'standard',
    usd numeric NOT NULL,
    per bigint NOT NULL,
    valid_from date,
    valid_to date,
    daily_from time,
    daily_to time,
    source text NOT NULL,
    checked_on date NOT NULL DEFAULT CURRENT_DATE,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (price_id, kind, above_input_tokens),
    CONSTRAINT prices_are_finite_and_not_negative CHECK (usd >= 0 AND usd < 'Infinity'),
    CONSTRAINT per_is_positive CHECK (per > 0)
);
CREATE INDEX token_ledger_prices_provider ON token_ledger_prices (provider);
COMMENT ON TABLE token_ledger_prices IS 'List prices with the days they hold; rows are added, never changed';
COMMENT ON COLUMN token_ledger_prices.price_id IS 'The sheet: provider/model/tier/hash of its content';
COMMENT ON COLUMN token_ledger_prices.kind IS 'What is priced: input, output, cache_read, cache_write, cache_write_1h, web_search ...';
COMMENT ON COLUMN token_ledger_prices.above_input_tokens IS 'The price holds for calls with more input tokens than this';
COMMENT ON COLUMN token_ledger_prices.provider IS 'Who bills at this price';
COMMENT ON COLUMN token_ledger_prices.model IS 'Model family of the sheet';
COMMENT ON COLUMN token_ledger_prices.model_pattern IS 'Regular expression over the lower-case model name';
COMMENT ON COLUMN token_ledger_prices.match_order IS 'Patterns of one provider are tried in this order';
COMMENT ON COLUMN token_ledger_prices.tier IS 'Service tier: standard, batch, flex, priority, fast';
COMMENT ON COLUMN token_ledger_prices.usd IS 'US dollars for `per` units';
COMMENT ON COLUMN token_ledger_prices.per IS 'Units the price is for: 1000000 tokens, 1000 requests';
COMMENT ON COLUMN token_ledger_prices.valid_from IS 'First day, UTC, the price holds; NULL is from the beginning';
COMMENT ON COLUMN token_ledger_prices.valid_to IS 'First day, UTC, it no longer holds; NULL is until further notice';
COMMENT ON COLUMN token_ledger_prices.daily_from IS 'Start of the daily interval, UTC; NULL is all day';
COMMENT ON COLUMN token_ledger_prices.daily_to IS 'End of the daily interval, UTC; NULL is all day';
COMMENT ON COLUMN token_ledger_prices.source IS 'Where the price comes from, with its release';
COMMENT ON COLUMN token_ledger_prices.checked_on IS 'Day the price was taken from its source';
COMMENT ON COLUMN token_ledger_prices.recorded_at IS 'When the row was added';

-- Every change of a row's cost.
CREATE TABLE token_ledger_repricings (
    repricing_id uuid NOT NULL DEFAULT gen_random_uuid(),
    event_id uuid NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    old_cost_usd numeric,
    new_cost_usd numeric,
    old_price_id text NOT NULL DEFAULT '',
    new_price_id text NOT NULL DEFAULT '',
    changed_by text NOT NULL DEFAULT CURRENT_USER,
    reason text NOT NULL,
    PRIMARY KEY (repricing_id)
);
COMMENT ON TABLE token_ledger_repricings IS 'Every change of a cost after its row was written';
COMMENT ON COLUMN token_ledger_repricings.repricing_id IS 'Identity of the change';
COMMENT ON COLUMN token_ledger_repricings.event_id IS 'The row that was repriced';
COMMENT ON COLUMN token_ledger_repricings.recorded_at IS 'When';
COMMENT ON COLUMN token_ledger_repricings.old_cost_usd IS 'Cost before, US dollars';
COMMENT ON COLUMN token_ledger_repricings.new_cost_usd IS 'Cost after, US dollars';
COMMENT ON COLUMN token_ledger_repricings.old_price_id IS 'Price sheet before';
COMMENT ON COLUMN token_ledger_repricings.new_price_id IS 'Price sheet after';
COMMENT ON COLUMN token_ledger_repricings.changed_by IS 'Database user who changed it';
COMMENT ON COLUMN token_ledger_repricings.reason IS 'Why';
