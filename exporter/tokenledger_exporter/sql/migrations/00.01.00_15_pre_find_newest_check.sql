-- Every report says when the price book was last checked: found without a walk over all of it.
-- Release 00.01.00, step 15, safe before the new code runs.
CREATE INDEX token_ledger_prices_checked ON token_ledger_prices (checked_on);
