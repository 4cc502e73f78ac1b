-- Statements of the migration runner.

-- name: lock
-- Runs one migration at a time; the number is the CRC-32 of "tokenledger migrations".
SELECT pg_advisory_xact_lock(2746312957)

-- name: create_history
-- Records which migrations have run, and the checksums of their content.
CREATE TABLE IF NOT EXISTS token_ledger_migrations (
    name text NOT NULL,
    checksum text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (name)
)

-- name: history_exists
-- Whether any migration has run in this schema.
SELECT to_regclass('token_ledger_migrations') IS NOT NULL

-- name: history
-- Applied migrations, oldest first.
SELECT name, checksum, applied_at FROM token_ledger_migrations ORDER BY name

-- name: record
-- Records a migration as applied.
INSERT INTO token_ledger_migrations (name, checksum) VALUES (%(name)s, %(checksum)s)

-- name: events_table
-- What token_ledger_events is: missing, the ledger's, or an older tracker's table.
SELECT
    to_regclass('token_ledger_events') IS NOT NULL AS present,
    EXISTS (
        SELECT
        FROM pg_attribute
        WHERE attrelid = to_regclass('token_ledger_events')::oid AND attname = 'usage_hash'
    ) AS is_ledger,
    to_regclass('token_ledger_events_v0') IS NOT NULL AS older_renamed

-- name: set_older_tracker_aside
-- Makes room for a new ledger where TokenLedger 0.1 ran. Its views have the names of ours and other
-- columns, so they get the suffix _v0, like its table. If its table is in the schema token_ledger, as
-- it is by default, the view token_ledger_events_v0 reads it there; nothing in that schema is changed.
DO $do$
DECLARE
    older_view name;
BEGIN
    FOR older_view IN
        SELECT relname
        FROM pg_class
        WHERE
            relkind = 'v'
            AND relnamespace = current_schema()::regnamespace
            AND relname IN (
                'token_ledger_daily_costs', 'token_ledger_user_costs', 'token_ledger_team_costs',
                'token_ledger_feature_costs', 'token_ledger_cost_center_costs'
            )
            AND to_regclass('token_ledger_migrations') IS NULL
    LOOP
        EXECUTE format('ALTER VIEW %I RENAME TO %I', older_view, older_view || '_v0');
    END LOOP;
    IF
        to_regclass('token_ledger_migrations') IS NULL
        AND to_regclass('token_ledger_events') IS NULL
        AND to_regclass('token_ledger_events_v0') IS NULL
        AND to_regclass('token_ledger.token_ledger_events') IS NOT NULL
    THEN
        CREATE VIEW token_ledger_events_v0 AS
        SELECT * FROM token_ledger.token_ledger_events;
    END IF;
END
$do$

-- name: limit_lock_wait
-- A migration gives up instead of waiting for a long transaction, which would block the app behind it.
SET LOCAL lock_timeout = '5s'

-- name: revoke_api_roles
-- Takes every right on new objects from the public roles of a web API.
DO $do$
BEGIN
    IF to_regproc('token_ledger_revoke_api_roles') IS NOT NULL THEN
        PERFORM token_ledger_revoke_api_roles();
    END IF;
END
$do$
