-- Bounds on what a row says, so that no row stops sums, roll-ups or retention; and who reported it.
-- Release 00.01.00, step 17, safe before the new code runs: older writers' rows beyond the bounds are
-- set aside with the reason.

-- A count beyond what one call can have proves the row wrong, so none of its counts is kept.
UPDATE token_ledger_events
SET
    input_tokens = NULL,
    output_tokens = NULL,
    cached_tokens = NULL,
    cache_write_tokens = NULL,
    cache_write_1h_tokens = NULL,
    reasoning_tokens = NULL,
    audio_input_tokens = NULL,
    audio_output_tokens = NULL,
    image_input_tokens = NULL,
    image_output_tokens = NULL,
    web_search_requests = NULL,
    file_search_requests = NULL,
    code_execution_requests = NULL,
    audio_seconds = NULL,
    input_characters = NULL,
    images = NULL,
    cached_audio_tokens = NULL,
    cached_image_tokens = NULL,
    total_tokens = NULL,
    cost_usd = NULL,
    input_cost_usd = NULL,
    cached_cost_usd = NULL,
    cache_write_cost_usd = NULL,
    output_cost_usd = NULL,
    tool_cost_usd = NULL,
    cost_status = 'unpriced',
    price_id = '',
    cost_note = 'a count was over 1,000,000,000, more than one call can use'
WHERE
    input_tokens > 1000000000
    OR output_tokens > 1000000000
    OR cached_tokens > 1000000000
    OR cache_write_tokens > 1000000000
    OR cache_write_1h_tokens > 1000000000
    OR reasoning_tokens > 1000000000
    OR audio_input_tokens > 1000000000
    OR audio_output_tokens > 1000000000
    OR image_input_tokens > 1000000000
    OR image_output_tokens > 1000000000
    OR web_search_requests > 1000000000
    OR file_search_requests > 1000000000
    OR code_execution_requests > 1000000000
    OR audio_seconds > 1000000000
    OR input_characters > 1000000000
    OR images > 1000000000
    OR cached_audio_tokens > 1000000000
    OR cached_image_tokens > 1000000000
    OR total_tokens > 2000000000;

UPDATE token_ledger_events
SET
    provider = left(provider, 64),
    operation = left(operation, 64),
    service_tier = left(service_tier, 64),
    inference_geo = left(inference_geo, 64),
    scope = left(scope, 255),
    model = left(model, 255),
    request_model = left(request_model, 255),
    response_id = left(response_id, 255),
    error_type = left(error_type, 255),
    user_id = left(user_id, 255),
    session_id = left(session_id, 255),
    organization_id = left(organization_id, 255),
    project = left(project, 255),
    feature = left(feature, 255),
    team = left(team, 255),
    cost_center = left(cost_center, 255),
    agent_id = left(agent_id, 255),
    endpoint = left(endpoint, 255),
    app_name = left(app_name, 255),
    release = left(release, 255),
    environment = left(environment, 255),
    duration_ms = CASE WHEN duration_ms >= 0 AND duration_ms <= 86400000 THEN duration_ms END,
    time_to_first_token_ms
    = CASE WHEN time_to_first_token_ms >= 0 AND time_to_first_token_ms <= 86400000 THEN time_to_first_token_ms END
WHERE
    greatest(length(provider), length(operation), length(service_tier), length(inference_geo)) > 64
    OR greatest(
        length(scope),
        length(model),
        length(request_model),
        length(response_id),
        length(error_type),
        length(user_id),
        length(session_id),
        length(organization_id),
        length(project),
        length(feature),
        length(team),
        length(cost_center),
        length(agent_id),
        length(endpoint),
        length(app_name),
        length(release),
        length(environment)
    ) > 255
    OR NOT (duration_ms >= 0 AND duration_ms <= 86400000)
    OR NOT (time_to_first_token_ms >= 0 AND time_to_first_token_ms <= 86400000);

ALTER TABLE token_ledger_events
    ADD COLUMN token_organization_id text NOT NULL DEFAULT '',
    ADD CONSTRAINT counts_are_plausible
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
    -- Provider, model and a dimension's value are in keys of the roll-ups: a B-tree takes 2,704 bytes.
    ADD CONSTRAINT names_are_short
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
    -- NaN sorts above every number, so the comparison refuses it too.
    ADD CONSTRAINT times_are_plausible
        CHECK (
            duration_ms >= 0 AND duration_ms <= 86400000
            AND time_to_first_token_ms >= 0 AND time_to_first_token_ms <= 86400000
        );
COMMENT ON COLUMN token_ledger_events.token_organization_id IS 'Organization that the reporting token is bound to; empty for reports of the operator''s own sources';
COMMENT ON COLUMN token_ledger_events.duration_ms IS 'From request to the end of the answer, milliseconds; NULL if the emitter''s clock says less than 0 or more than a day';
COMMENT ON COLUMN token_ledger_events.time_to_first_token_ms IS 'From request to the first chunk of a stream, milliseconds; NULL if it is not between 0 and a day';

-- Losses that one organization caused must not spoil the coverage of another.
UPDATE token_ledger_losses SET records = greatest(0, least(records, 1000000000))
WHERE NOT records BETWEEN 0 AND 1000000000;
ALTER TABLE token_ledger_losses
    ADD COLUMN organization_id text NOT NULL DEFAULT '',
    ADD CONSTRAINT records_are_plausible CHECK (records BETWEEN 0 AND 1000000000);
COMMENT ON COLUMN token_ledger_losses.organization_id IS 'Organization whose reports were lost; empty for the operator''s own';

-- Reports say how many second reports were set aside, and what they would have cost.
CREATE INDEX token_ledger_duplicates_time ON token_ledger_duplicates (timestamp);
