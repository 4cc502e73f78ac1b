-- Statements of the migration runner.

-- name: lock
-- One migration at a time; the number is the CRC-32 of "tokenledger migrations".
SELECT pg_advisory_xact_lock(2746312957)

-- name: create_history
-- Which migrations have run, with what content.
CREATE TABLE IF NOT EXISTS token_ledger_migrations (
    name text NOT NULL,
    checksum text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (name)
)

-- name: history_exists
-- Whether this schema was ever migrated.
SELECT to_regclass('token_ledger_migrations') IS NOT NULL

-- name: history
-- Applied migrations, oldest first.
SELECT name, checksum, applied_at FROM token_ledger_migrations ORDER BY name

-- name: record
-- Note one migration as applied.
INSERT INTO token_ledger_migrations (name, checksum) VALUES (%(name)s, %(checksum)s)

-- name: events_table
-- What stands under the ledger's name: nothing, ours, or an older tracker's table.
SELECT
    to_regclass('token_ledger_events') IS NOT NULL AS present,
    EXISTS (
        SELECT
        FROM pg_attribute
        WHERE attrelid = to_regclass('token_ledger_events')::oid AND attname = 'usage_hash'
    ) AS ours,
    to_regclass('token_ledger_events_v0') IS NOT NULL AS older_kept

-- name: bound_waiting
-- A migration gives up rather than queue behind a long transaction and block the app behind it.
SET LOCAL lock_timeout = '5s'

-- name: close_to_api
-- What a migration made is not for the public roles of a web API.
DO $do$
BEGIN
    IF to_regproc('token_ledger_revoke_api_roles') IS NOT NULL THEN
        PERFORM token_ledger_revoke_api_roles();
    END IF;
END
$do$
