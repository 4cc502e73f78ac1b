-- Statements of the price book.

-- name: stage
-- A temporary table for an import; it is dropped at the end of the transaction.
CREATE TEMPORARY TABLE token_ledger_prices_staged
(LIKE token_ledger_prices INCLUDING DEFAULTS) ON COMMIT DROP

-- name: copy_staged
-- One row per kind and band, with the columns of PriceRow.
COPY token_ledger_prices_staged (
    price_id, kind, above_input_tokens, provider, model, model_pattern, match_order, tier,
    usd, per, valid_from, valid_to, daily_from, daily_to, source, weekdays
) FROM STDIN

-- name: refresh_known
-- Marks sheets that the source still lists as checked today.
UPDATE token_ledger_prices AS prices
SET
    checked_on = CURRENT_DATE,
    match_order = staged.match_order
FROM token_ledger_prices_staged AS staged
WHERE
    staged.price_id = prices.price_id
    AND staged.kind = prices.kind
    AND staged.above_input_tokens = prices.above_input_tokens
    AND (prices.checked_on, prices.match_order) IS DISTINCT FROM (CURRENT_DATE, staged.match_order)

-- name: outdate_unlisted
-- Marks sheets that the source no longer lists, so that they do not compete with those it lists.
UPDATE token_ledger_prices AS prices
SET checked_on = CURRENT_DATE - 1
WHERE
    prices.source LIKE 'genai-prices %%'
    AND prices.checked_on = CURRENT_DATE
    AND NOT EXISTS (
        SELECT
        FROM token_ledger_prices_staged AS staged
        WHERE
            staged.price_id = prices.price_id
            AND staged.kind = prices.kind
            AND staged.above_input_tokens = prices.above_input_tokens
    )

-- name: add_staged
-- Adds sheets whose content is new.
INSERT INTO token_ledger_prices SELECT * FROM token_ledger_prices_staged
ON CONFLICT DO NOTHING

-- name: insert_rows
-- The INSERT that `db sql` prints: price sheets, and the rates of each by its number.
INSERT INTO token_ledger_prices (
    price_id, kind, above_input_tokens, provider, model, model_pattern, match_order, tier,
    usd, per, valid_from, valid_to, daily_from, daily_to, source, weekdays
)
SELECT
    sheets.price_id, rates.kind, rates.above_input_tokens, sheets.provider, sheets.model,
    sheets.model_pattern, sheets.match_order, sheets.tier, rates.usd, rates.per,
    sheets.valid_from::date, sheets.valid_to::date, sheets.daily_from::time, sheets.daily_to::time,
    sheets.source, sheets.weekdays
FROM (VALUES
{sheets}
) AS sheets (
    number, price_id, provider, model, model_pattern, match_order, tier,
    valid_from, valid_to, daily_from, daily_to, source, weekdays
)
INNER JOIN (VALUES
{rates}
) AS rates (number, kind, above_input_tokens, usd, per) ON rates.number = sheets.number
ON CONFLICT DO NOTHING

-- name: load
-- Sheets of one provider: custom prices, then discounts, newest first, then the latest list prices.
SELECT
    price_id, kind, above_input_tokens, provider, model, model_pattern,
    match_order + 1000000 * (
        dense_rank() OVER (
            ORDER BY
                source LIKE 'genai-prices %%',
                source LIKE 'discount %%',
                CASE WHEN source NOT LIKE 'genai-prices %%' THEN recorded_at END DESC,
                CASE WHEN source LIKE 'genai-prices %%' THEN checked_on END DESC
        ) - 1
    ) AS match_order,
    tier, usd, per, valid_from, valid_to, daily_from, daily_to, source, weekdays
FROM token_ledger_prices
WHERE provider = %(provider)s

-- name: prefers_reported
-- Whether the cost that a provider reports is preferred to its prices.
SELECT EXISTS (
    SELECT FROM token_ledger_reported_cost_providers WHERE provider = %(provider)s
)

-- name: known_providers
-- Providers that have prices, and the given one if it has calls.
SELECT DISTINCT provider FROM token_ledger_prices
UNION
SELECT %(provider)s::text
WHERE EXISTS (SELECT FROM token_ledger_events WHERE provider = %(provider)s)

-- name: preferring_providers
-- Providers whose reported cost is preferred.
SELECT provider FROM token_ledger_reported_cost_providers ORDER BY provider

-- name: prefer_reported
-- Prefers the reported cost of a provider.
INSERT INTO token_ledger_reported_cost_providers (provider) VALUES (%(provider)s)
ON CONFLICT DO NOTHING

-- name: prefer_prices
-- Goes back to the prices of a provider.
DELETE FROM token_ledger_reported_cost_providers WHERE provider = %(provider)s

-- name: dated_rows
-- Every price of one provider, with the days it was checked and added, latest first.
SELECT
    price_id, kind, above_input_tokens, provider, model, model_pattern, match_order,
    tier, usd, per, valid_from, valid_to, daily_from, daily_to, source, weekdays, checked_on, recorded_at
FROM token_ledger_prices
WHERE provider = %(provider)s
ORDER BY valid_from DESC NULLS LAST, recorded_at DESC, price_id, kind, above_input_tokens

-- name: custom_rows
-- Custom prices at one provider, newest first.
SELECT
    price_id, kind, above_input_tokens, provider, model, model_pattern, match_order,
    tier, usd, per, valid_from, valid_to, daily_from, daily_to, source, weekdays
FROM token_ledger_prices
WHERE provider = %(provider)s AND source NOT LIKE 'genai-prices %%'
ORDER BY recorded_at DESC, price_id, kind, above_input_tokens

-- name: add_custom
-- Adds one kind of a custom price sheet.
INSERT INTO token_ledger_prices (
    price_id, kind, above_input_tokens, provider, model, model_pattern, match_order, tier,
    usd, per, valid_from, valid_to, daily_from, daily_to, source, weekdays
) VALUES (
    %(price_id)s, %(kind)s, %(above_input_tokens)s, %(provider)s, %(model)s, %(model_pattern)s,
    %(match_order)s, %(tier)s, %(usd)s, %(per)s, %(valid_from)s, %(valid_to)s, %(daily_from)s,
    %(daily_to)s, %(source)s, %(weekdays)s
)

-- name: book_lock
-- Allows one change of custom prices at a time; the number is the CRC-32 of "tokenledger prices".
SELECT pg_advisory_xact_lock(3496102477)

-- name: providers
-- Providers that have prices.
SELECT DISTINCT provider FROM token_ledger_prices ORDER BY provider

-- name: listing
-- Sheets that are valid on a day, one row each, with their main prices.
SELECT
    provider,
    model,
    tier,
    max(usd) FILTER (WHERE kind = 'input' AND above_input_tokens = 0 AND per = 1000000) AS input_usd,
    max(usd) FILTER (WHERE kind = 'output' AND above_input_tokens = 0 AND per = 1000000) AS output_usd,
    max(usd) FILTER (WHERE kind = 'cache_read' AND above_input_tokens = 0 AND per = 1000000) AS cached_usd,
    count(*) AS prices,
    valid_from,
    valid_to,
    daily_from,
    daily_to,
    weekdays,
    source,
    checked_on,
    price_id,
    model_pattern
FROM token_ledger_prices
WHERE
    (%(provider)s::text IS NULL OR provider = %(provider)s)
    AND (valid_from IS NULL OR valid_from <= %(day)s)
    AND (valid_to IS NULL OR valid_to > %(day)s)
    AND (
        source NOT LIKE 'genai-prices %%'
        OR checked_on = (
            SELECT max(newest.checked_on) FROM token_ledger_prices AS newest
            WHERE newest.source LIKE 'genai-prices %%'
        )
    )
GROUP BY provider, model, tier, valid_from, valid_to, daily_from, daily_to, weekdays, source,
    checked_on, price_id, model_pattern, match_order
ORDER BY provider, source LIKE 'genai-prices %%', match_order, tier, valid_from,
    daily_from, weekdays, price_id

-- name: listed_rows
-- Current and future list prices, for a comparison or a discount.
SELECT
    price_id, kind, above_input_tokens, provider, model, model_pattern, match_order,
    tier, usd, per, valid_from, valid_to, daily_from, daily_to, source, weekdays
FROM token_ledger_prices
WHERE
    source LIKE 'genai-prices %%'
    AND (%(provider)s::text IS NULL OR provider = %(provider)s)
    AND checked_on = (
        SELECT max(newest.checked_on) FROM token_ledger_prices AS newest
        WHERE newest.source LIKE 'genai-prices %%'
    )
ORDER BY provider, match_order, price_id, kind, above_input_tokens

-- name: missing
-- Models of calls that have no price, most tokens first. Contradictory counts have another remedy.
SELECT
    provider,
    CASE WHEN provider IN ('aws', 'huggingface') AND request_model <> '' THEN request_model ELSE model END AS model,
    count(*) AS calls,
    COALESCE(sum(input_tokens), 0)::bigint AS input_tokens,
    COALESCE(sum(output_tokens), 0)::bigint AS output_tokens,
    min(timestamp) AS first_seen,
    max(timestamp) AS last_seen
FROM token_ledger_events
WHERE
    cost_status = 'unpriced'
    AND cost_note !~ '(\) exceed | is negative)'
    AND timestamp >= %(since)s
    AND timestamp < %(until)s {where}
GROUP BY 1, 2
ORDER BY COALESCE(sum(input_tokens), 0) + COALESCE(sum(output_tokens), 0) DESC, 1, 2

-- name: changed_between
-- Prices that differ between two days; NULL where a day has none. Of several sheets for the same calls
-- the one that is preferred counts: custom prices, then discounts, the newest first.
WITH valid AS (
    SELECT DISTINCT ON (
        days.number, prices.provider, prices.model, prices.tier, prices.kind,
        prices.above_input_tokens, hours
    )
        days.number,
        prices.provider,
        prices.model,
        prices.tier,
        prices.kind,
        prices.above_input_tokens,
        concat_ws(' ', prices.daily_from, prices.daily_to, prices.weekdays) AS hours,
        prices.usd,
        prices.per,
        prices.source,
        prices.price_id
    FROM token_ledger_prices AS prices
    CROSS JOIN (VALUES (1, %(before)s::date), (2, %(after)s::date)) AS days (number, day)
    WHERE
        (%(provider)s::text IS NULL OR prices.provider = %(provider)s)
        AND (prices.valid_from IS NULL OR prices.valid_from <= days.day)
        AND (prices.valid_to IS NULL OR prices.valid_to > days.day)
        AND (
            prices.source NOT LIKE 'genai-prices %%'
            OR prices.checked_on = (
                SELECT max(newest.checked_on) FROM token_ledger_prices AS newest
                WHERE newest.source LIKE 'genai-prices %%'
            )
        )
    ORDER BY
        days.number, prices.provider, prices.model, prices.tier, prices.kind,
        prices.above_input_tokens, hours, prices.source LIKE 'genai-prices %%',
        prices.source LIKE 'discount %%', prices.recorded_at DESC, prices.price_id
),

changes AS (
    SELECT
        provider,
        model,
        tier,
        kind,
        above_input_tokens,
        hours,
        earlier.usd AS before_usd,
        later.usd AS after_usd,
        per,
        COALESCE(later.source, earlier.source) AS source,
        COALESCE(later.price_id, earlier.price_id) AS price_id
    FROM (SELECT * FROM valid WHERE number = 1) AS earlier
    FULL JOIN (SELECT * FROM valid WHERE number = 2) AS later
        USING (provider, model, tier, kind, above_input_tokens, hours, per)
    WHERE earlier.usd IS DISTINCT FROM later.usd
)

SELECT
    changes.*,
    count(*) OVER () AS changes
FROM changes
ORDER BY provider, model, tier, kind, above_input_tokens, hours, per
LIMIT %(limit)s OFFSET %(skipped)s
