-- Statements of the price book.

-- name: stage
-- Room for a whole import, gone with the transaction.
CREATE TEMPORARY TABLE token_ledger_prices_staged
(LIKE token_ledger_prices INCLUDING DEFAULTS) ON COMMIT DROP

-- name: copy_staged
-- One row per kind and band, columns as in prices.PriceRow.
COPY token_ledger_prices_staged (
    price_id, kind, above_input_tokens, provider, model, model_pattern, match_order, tier,
    usd, per, valid_from, valid_to, daily_from, daily_to, source
) FROM STDIN

-- name: refresh_known
-- A sheet the source still lists was checked today and keeps its content.
UPDATE token_ledger_prices AS known
SET
    checked_on = CURRENT_DATE,
    match_order = staged.match_order
FROM token_ledger_prices_staged AS staged
WHERE
    staged.price_id = known.price_id
    AND staged.kind = known.kind
    AND staged.above_input_tokens = known.above_input_tokens
    AND (known.checked_on, known.match_order) IS DISTINCT FROM (CURRENT_DATE, staged.match_order)

-- name: outdate_unlisted
-- A sheet its source no longer lists must not compete with what it lists since today.
UPDATE token_ledger_prices AS known
SET checked_on = CURRENT_DATE - 1
WHERE
    known.source LIKE 'genai-prices %%'
    AND known.checked_on = CURRENT_DATE
    AND NOT EXISTS (
        SELECT
        FROM token_ledger_prices_staged AS staged
        WHERE
            staged.price_id = known.price_id
            AND staged.kind = known.kind
            AND staged.above_input_tokens = known.above_input_tokens
    )

-- name: add_staged
-- Sheets with content the book does not have yet.
INSERT INTO token_ledger_prices SELECT * FROM token_ledger_prices_staged
ON CONFLICT DO NOTHING

-- name: insert_rows
-- Head of the INSERT that `db sql` prints.
INSERT INTO token_ledger_prices (
    price_id, kind, above_input_tokens, provider, model, model_pattern, match_order, tier,
    usd, per, valid_from, valid_to, daily_from, daily_to, source
) VALUES

-- name: load
-- One provider's sheets: the user's own first, then what the package listed last.
SELECT
    price_id, kind, above_input_tokens, provider, model, model_pattern,
    match_order + 1000000 * (
        dense_rank() OVER (ORDER BY source LIKE 'genai-prices %%', checked_on DESC) - 1
    )::integer AS match_order,
    tier, usd, per, valid_from, valid_to, daily_from, daily_to, source
FROM token_ledger_prices
WHERE provider = %(provider)s
