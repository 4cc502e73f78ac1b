-- Calls billed by seconds, characters or images, cached audio and images, and what else a span tells.
-- Release 00.01.00, step 03, safe before the new code runs: every column may stay at its default.

ALTER TABLE token_ledger_events
    ADD COLUMN cached_audio_tokens bigint,
    ADD COLUMN cached_image_tokens bigint,
    ADD COLUMN audio_seconds bigint,
    ADD COLUMN input_characters bigint,
    ADD COLUMN images bigint,
    ADD COLUMN reported_cost_usd numeric,
    ADD COLUMN inference_geo text NOT NULL DEFAULT '',
    ADD COLUMN details jsonb NOT NULL DEFAULT '{}',
    ADD CONSTRAINT lengths_are_not_negative
        CHECK (
            cached_audio_tokens >= 0
            AND cached_image_tokens >= 0
            AND audio_seconds >= 0
            AND input_characters >= 0
            AND images >= 0
        ),
    -- NaN and Infinity sort above every number, so one comparison refuses both.
    ADD CONSTRAINT reported_cost_is_finite_and_not_negative
        CHECK (reported_cost_usd >= 0 AND reported_cost_usd < 'Infinity'),
    ADD CONSTRAINT details_are_an_object
        CHECK (jsonb_typeof(details) = 'object');

COMMENT ON COLUMN token_ledger_events.cached_audio_tokens IS 'Audio tokens within cached_tokens; NULL if the split was not reported';
COMMENT ON COLUMN token_ledger_events.cached_image_tokens IS 'Image tokens within cached_tokens; NULL if the split was not reported';
COMMENT ON COLUMN token_ledger_events.audio_seconds IS 'Audio billed by its length, seconds; NULL for calls billed by tokens';
COMMENT ON COLUMN token_ledger_events.input_characters IS 'Text billed by its length (speech), characters; NULL for calls billed by tokens';
COMMENT ON COLUMN token_ledger_events.images IS 'Images the answer holds';
COMMENT ON COLUMN token_ledger_events.reported_cost_usd IS 'What the provider itself said the call cost, US dollars; never part of cost_usd';
COMMENT ON COLUMN token_ledger_events.inference_geo IS 'Where the provider ran the call (us, global), where it says so';
COMMENT ON COLUMN token_ledger_events.details IS 'Settings and circumstances of the call by attribute name; never what was said';
COMMENT ON COLUMN token_ledger_events.input_cost_usd IS 'Part of cost_usd for uncached input, audio seconds, characters and images, US dollars';
COMMENT ON COLUMN token_ledger_events.cost_status IS 'priced; partial (some usage or price missing); estimated (output was estimated); unpriced (no price, NULL cost); unmeasured (sent, never measured, NULL cost)';
COMMENT ON COLUMN token_ledger_events.operation IS 'GenAI operation: chat, text_completion, embeddings, image_generation, transcription, translation, speech, moderation ...';
COMMENT ON COLUMN token_ledger_prices.kind IS 'What is priced: input, output, cache_read, cache_write, cache_write_1h, input_audio, cache_read_audio, audio_second, input_character, image, web_search ...';
COMMENT ON COLUMN token_ledger_prices.tier IS 'Service tier: standard, batch, flex, priority, fast; with @ and a place where the place has its own price';
COMMENT ON COLUMN token_ledger_prices.per IS 'Units the price is for: 1000000 tokens, 1000000 characters, 3600 seconds, 1000 requests';
