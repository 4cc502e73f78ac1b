-- The price book, and the history of changed costs.

-- One sheet (price_id) per model, tier and period; one row per kind of usage.
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
COMMENT ON TABLE token_ledger_prices IS 'Prices and the days they are valid; rows are added, never changed';
COMMENT ON COLUMN token_ledger_prices.price_id IS 'The sheet: provider/model/tier/hash of its content';
COMMENT ON COLUMN token_ledger_prices.kind IS 'What is priced: input, output, cache_read, cache_write, cache_write_1h, input_audio, cache_read_audio, audio_second, input_character, image, web_search ...';
COMMENT ON COLUMN token_ledger_prices.above_input_tokens IS 'The price applies to calls with more input tokens than this';
COMMENT ON COLUMN token_ledger_prices.provider IS 'Who bills at this price';
COMMENT ON COLUMN token_ledger_prices.model IS 'Model family of the sheet';
COMMENT ON COLUMN token_ledger_prices.model_pattern IS 'Regular expression for the lower-case model name';
COMMENT ON COLUMN token_ledger_prices.match_order IS 'Patterns of one provider are tried in this order';
COMMENT ON COLUMN token_ledger_prices.tier IS 'Service tier: standard, batch, flex, priority, fast; with @ and a region where the region has its own price';
COMMENT ON COLUMN token_ledger_prices.usd IS 'US dollars for `per` units';
COMMENT ON COLUMN token_ledger_prices.per IS 'Units the price is for: 1000000 tokens, 1000000 characters, 3600 seconds, 1000 requests';
COMMENT ON COLUMN token_ledger_prices.valid_from IS 'First day, UTC, the price is valid; NULL has no start';
COMMENT ON COLUMN token_ledger_prices.valid_to IS 'First day, UTC, the price is no longer valid; NULL has no end';
COMMENT ON COLUMN token_ledger_prices.daily_from IS 'Start of the daily interval, UTC; NULL is all day';
COMMENT ON COLUMN token_ledger_prices.daily_to IS 'End of the daily interval, UTC; NULL is all day';
COMMENT ON COLUMN token_ledger_prices.source IS 'Where the price comes from, with its release';
COMMENT ON COLUMN token_ledger_prices.checked_on IS 'Day the price was last compared with its source';
COMMENT ON COLUMN token_ledger_prices.recorded_at IS 'When the row was added';
CREATE INDEX token_ledger_prices_provider ON token_ledger_prices (provider);
-- Every report says when the price book was last checked.
CREATE INDEX token_ledger_prices_checked ON token_ledger_prices (checked_on);

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
    old_cost_status text NOT NULL DEFAULT 'unpriced',
    new_cost_status text NOT NULL DEFAULT 'unpriced',
    PRIMARY KEY (repricing_id)
);
COMMENT ON TABLE token_ledger_repricings IS 'Every change of a cost after its row was written';
COMMENT ON COLUMN token_ledger_repricings.repricing_id IS 'Identity of the change';
COMMENT ON COLUMN token_ledger_repricings.event_id IS 'Row whose cost changed';
COMMENT ON COLUMN token_ledger_repricings.recorded_at IS 'When the cost changed';
COMMENT ON COLUMN token_ledger_repricings.old_cost_usd IS 'Cost before, US dollars';
COMMENT ON COLUMN token_ledger_repricings.new_cost_usd IS 'Cost after, US dollars';
COMMENT ON COLUMN token_ledger_repricings.old_price_id IS 'Price sheet before';
COMMENT ON COLUMN token_ledger_repricings.new_price_id IS 'Price sheet after';
COMMENT ON COLUMN token_ledger_repricings.changed_by IS 'Database user who changed it';
COMMENT ON COLUMN token_ledger_repricings.reason IS 'Why the cost changed';
COMMENT ON COLUMN token_ledger_repricings.old_cost_status IS 'cost_status before';
COMMENT ON COLUMN token_ledger_repricings.new_cost_status IS 'cost_status after';
-- A report as of an earlier time, and the history of one row.
CREATE INDEX token_ledger_repricings_event ON token_ledger_repricings (event_id, recorded_at);

DO $migration$
DECLARE
    home text := pg_catalog.quote_ident(pg_catalog.current_schema()::text);
BEGIN
    EXECUTE pg_catalog.replace($create$
        -- The owner could drop the trigger, so its own changes are not recorded.
        CREATE FUNCTION HOME.token_ledger_record_cost_changes() RETURNS trigger
        LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
        BEGIN
            IF HOME.token_ledger_is_owner() THEN
                RETURN NULL;
            END IF;
            INSERT INTO HOME.token_ledger_repricings (
                event_id, old_cost_usd, new_cost_usd, old_cost_status, new_cost_status,
                old_price_id, new_price_id, changed_by, reason
            )
            SELECT
                old_rows.event_id, old_rows.cost_usd, new_rows.cost_usd, old_rows.cost_status,
                new_rows.cost_status, old_rows.price_id, new_rows.price_id, session_user,
                'changed by hand'
            FROM old_rows
            INNER JOIN new_rows ON new_rows.event_id = old_rows.event_id
            WHERE
                (old_rows.cost_usd, old_rows.cost_status, old_rows.price_id)
                IS DISTINCT FROM (new_rows.cost_usd, new_rows.cost_status, new_rows.price_id)
                -- 'tokenledger reprice' records its own changes in the same statement.
                AND NOT EXISTS (
                    SELECT
                    FROM HOME.token_ledger_repricings AS recorded
                    WHERE
                        recorded.event_id = old_rows.event_id
                        AND recorded.recorded_at = now()
                        AND recorded.old_cost_usd IS NOT DISTINCT FROM old_rows.cost_usd
                        AND recorded.new_cost_usd IS NOT DISTINCT FROM new_rows.cost_usd
                        AND recorded.new_cost_status = new_rows.cost_status
                );
            RETURN NULL;
        END
        $body$
    $create$, 'HOME', home);
END
$migration$;
COMMENT ON FUNCTION token_ledger_record_cost_changes() IS
'Records in token_ledger_repricings which costs a statement changed';
REVOKE ALL ON FUNCTION token_ledger_record_cost_changes() FROM PUBLIC;
CREATE TRIGGER token_ledger_record_cost_changes AFTER UPDATE ON token_ledger_events
REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
FOR EACH STATEMENT EXECUTE FUNCTION token_ledger_record_cost_changes();
