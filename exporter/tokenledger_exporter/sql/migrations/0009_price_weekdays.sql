-- Prices that apply on some days of the week only.

ALTER TABLE token_ledger_prices
ADD COLUMN weekdays text,
ADD CONSTRAINT weekdays_are_iso_days CHECK (weekdays ~ '^[1-7]+$');
COMMENT ON COLUMN token_ledger_prices.weekdays IS 'Days of the week, UTC, the price is valid, 1 is Monday: 12345; NULL is every day';
