-- Statements about budgets.

-- name: state
-- A number that every change makes larger, and whether any call reserved money by its span. A change may
-- be committed after one with a higher change_id, so the last one alone does not tell.
SELECT
    (
        SELECT COALESCE(sum(change_id), 0)::bigint
        FROM (
            SELECT change_id FROM token_ledger_budget_changes ORDER BY change_id DESC LIMIT 100
        ) AS recent
    ) AS version,
    EXISTS (SELECT FROM token_ledger_budget_holds WHERE span_key <> '') AS has_reservations

-- name: budgets
-- Every budget.
SELECT
    budget_id, name, filters, each, limit_usd, period, days, timezone, action, warn_percents, unpriced,
    on_outage, is_paused
FROM token_ledger_budgets
ORDER BY name

-- name: reserved_spans
-- Which of these calls reserved money by their span.
SELECT span_key
FROM token_ledger_budget_holds
WHERE span_key <> '' AND span_key = ANY(%(span_keys)s::text[])

-- name: limit_lock_wait
-- Rows are committed even if a budget is locked for long: the next recount adds them.
SET LOCAL lock_timeout = '2s'

-- name: past_costs
-- A quantile of what the last calls have cost, by feature and requested model.
SELECT
    feature,
    model,
    percentile_disc(%(quantile)s::double precision) WITHIN GROUP (ORDER BY cost_usd) AS usd
FROM (
    SELECT feature, COALESCE(NULLIF(request_model, ''), model) AS model, cost_usd
    FROM token_ledger_events
    ORDER BY timestamp DESC, event_id DESC
    LIMIT 20000
) AS recent
WHERE cost_usd > 0
GROUP BY feature, model

-- name: charge
-- Adds committed calls to their budgets, and frees what they reserved.
SELECT token_ledger_charge_budgets(
    %(budgets)s::integer[], %(vals)s::text[], %(quarters)s::bigint[], %(usd)s::numeric[],
    %(unconfirmed)s::numeric[], %(unreserved)s::numeric[], %(calls)s::bigint[], %(unpriced)s::bigint[],
    %(unreserved_calls)s::bigint[], %(holder)s, %(lease_budgets)s::integer[], %(lease_vals)s::text[],
    %(lease_usd)s::numeric[], %(span_keys)s::text[]
)

-- name: reserve
-- Reserves money for a call in each budget that matches it, or in none.
SELECT *
FROM token_ledger_reserve(
    %(holder)s, %(dimensions)s::jsonb, %(usd)s::numeric, %(as_lease)s, %(app_name)s,
    %(lifetime)s::interval, %(is_sent)s, %(span_key)s
)

-- name: reserve_or_retry
-- Leases money for a call of this process by its own clock. A refusal is counted if it is the last try.
SELECT *
FROM token_ledger_reserve(
    %(holder)s, %(dimensions)s::jsonb, %(usd)s::numeric, true, %(app_name)s, %(lifetime)s::interval,
    at => %(at)s::timestamptz, is_last_try => %(is_last_try)s::boolean
)

-- name: keep_leases
-- Extends the leases of a process, and gives back what it does not need.
SELECT token_ledger_keep_leases(
    %(holder)s, %(budgets)s::integer[], %(vals)s::text[], %(given_back)s::numeric[], %(lifetime)s::interval
)

-- name: release
-- Frees all that a process or a reservation has reserved.
SELECT token_ledger_release(%(holder)s)

-- name: settle
-- Says what the call of a reservation cost.
SELECT token_ledger_settle(%(holder)s, %(usd)s::numeric, %(trace_id)s, %(span_id)s)

-- name: reserve_for_client
-- Reserves money for one call of a client. Says which budgets are those of its organization alone.
SELECT
    reserved.*,
    clock_timestamp() + %(lifetime)s::interval AS expires_at,
    %(organization)s = ''
    OR COALESCE(
        budgets.filters -> 'organization' = jsonb_build_array(%(organization)s::text)
        OR (budgets.each = 'organization' AND reserved.value = %(organization)s), false
    ) AS is_visible
FROM token_ledger_reserve(
    %(holder)s, %(dimensions)s::jsonb, %(usd)s::numeric, false, %(app_name)s, %(lifetime)s::interval, true,
    %(span_key)s
) AS reserved
LEFT JOIN token_ledger_budgets AS budgets ON reserved.budget_id = budgets.budget_id

-- name: has_call
-- Whether a call of the last days is in the ledger.
SELECT EXISTS (
    SELECT
    FROM token_ledger_events
    WHERE
        timestamp >= now() - interval '2 days'
        AND trace_id = %(trace_id)s AND span_id = %(span_id)s
        AND organization_id = COALESCE(NULLIF(%(organization)s, ''), organization_id)
)

-- name: status_for_client
-- What is spent, reserved and left of the budgets of one organization alone, or of all.
SELECT
    status.*, budgets.filters, budgets.each, budgets.period, budgets.days, budgets.timezone
FROM token_ledger_budget_status AS status
INNER JOIN token_ledger_budgets AS budgets ON status.budget = budgets.name
WHERE
    budgets.name = COALESCE(%(name)s, budgets.name)
    AND (
        %(organization)s = ''
        OR budgets.filters -> 'organization' = jsonb_build_array(%(organization)s::text)
        OR (budgets.each = 'organization' AND status.value = %(organization)s)
    )
ORDER BY status.is_paused, status.left_usd / status.limit_usd, status.budget, status.value
LIMIT %(limit)s

-- name: set
-- Creates a budget, or changes all of it but its id.
INSERT INTO token_ledger_budgets AS budgets (
    name, filters, each, limit_usd, period, days, timezone, action, warn_percents, unpriced, on_outage
)
VALUES (
    %(name)s, %(filters)s::jsonb, %(each)s, %(limit_usd)s, %(period)s, %(days)s, %(timezone)s, %(action)s,
    %(warn_percents)s::integer[], %(unpriced)s, %(on_outage)s
)
ON CONFLICT (name) DO UPDATE
SET
    filters = EXCLUDED.filters,
    each = EXCLUDED.each,
    limit_usd = EXCLUDED.limit_usd,
    period = EXCLUDED.period,
    days = EXCLUDED.days,
    timezone = EXCLUDED.timezone,
    action = EXCLUDED.action,
    warn_percents = EXCLUDED.warn_percents,
    unpriced = EXCLUDED.unpriced,
    on_outage = EXCLUDED.on_outage,
    recounted_at = NULL

-- name: lock_budget
-- Waits for another change of the same budget.
SELECT name
FROM token_ledger_budgets
WHERE name = %(name)s
FOR UPDATE

-- name: transaction
-- This transaction's number.
SELECT pg_current_xact_id()::text

-- name: older_are_over
-- Whether every transaction that began before the given one has ended.
SELECT pg_snapshot_xmin(pg_current_snapshot())::text::numeric > %(transaction)s::numeric

-- name: note_release
-- Records that an operator freed what dead processes had reserved.
INSERT INTO token_ledger_budget_changes (budget, action, definition)
VALUES (%(name)s, 'released', jsonb_build_object('holds', %(holds)s::integer))

-- name: pause
-- Pauses or resumes a budget.
UPDATE token_ledger_budgets
SET is_paused = %(is_paused)s
WHERE name = %(name)s AND is_paused <> %(is_paused)s

-- name: delete
-- Deletes a budget; its history stays.
DELETE FROM token_ledger_budgets
WHERE name = %(name)s

-- name: status
-- What is spent, reserved and left of a budget, or of all; the accounts with least left first.
SELECT *, now() AS asked_at
FROM token_ledger_budget_status
WHERE budget = COALESCE(%(name)s, budget) AND value = COALESCE(%(value)s, value)
ORDER BY is_paused, left_usd / limit_usd, budget, value
LIMIT %(limit)s

-- name: are_hidden
-- Whether row-level security hides all budgets: the reader is bound to organizations.
SELECT CASE
    WHEN NOT row_security_active('token_ledger_budgets') THEN false
    WHEN has_table_privilege('token_ledger_events', 'INSERT') THEN false
    WHEN NULLIF(current_setting('tokenledger.organization', true), '') IS NOT NULL THEN true
    ELSE token_ledger_readable_organizations(current_user::text) IS NOT NULL
END

-- name: room
-- Whether a call has room in accounts of budgets, by the rule of token_ledger_reserve; reserves nothing.
SELECT budget, value, limit_usd, spent_usd, reserved_usd, needed_usd, resets_at, reason
FROM token_ledger_budget_room(
    %(budgets)s::integer[], %(vals)s::text[], %(usd)s::numeric, clock_timestamp()
)
ORDER BY budget, value

-- name: history
-- The changes of one budget, or of all, newest first.
SELECT recorded_at, changed_by, budget, action, definition
FROM token_ledger_budget_changes
WHERE budget = COALESCE(%(name)s, budget)
ORDER BY change_id DESC
LIMIT %(limit)s

-- name: refusals
-- Calls that budgets refused in a period, by budget and value.
SELECT
    budget,
    value,
    app_name,
    reason,
    sum(refused_calls)::bigint AS refused_calls,
    sum(needed_usd) AS needed_usd,
    min(minute) AS first_at,
    max(minute) AS last_at
FROM token_ledger_refusals
WHERE
    minute >= %(since)s AND minute < %(until)s
    AND budget = COALESCE(%(name)s, budget)
GROUP BY budget, value, app_name, reason
ORDER BY sum(refused_calls) DESC, budget, value, app_name
LIMIT %(limit)s

-- name: unconfirmed
-- Expired reservations of one budget, or of all: money that may have been spent.
SELECT holder, name AS budget, value, usd, holds.app_name, created_at, expires_at
FROM token_ledger_budget_holds AS holds
INNER JOIN token_ledger_budgets AS budgets ON holds.budget_id = budgets.budget_id
WHERE
    expires_at <= clock_timestamp() AND (kind = 'lease' OR is_sent)
    AND name = COALESCE(%(name)s, name)
ORDER BY expires_at DESC, holder, name, value
LIMIT %(limit)s

-- name: due
-- Budgets whose sums are to be compared with the calls.
SELECT
    budget_id, name, filters, each, limit_usd, period, days, timezone, action, warn_percents, unpriced,
    on_outage, is_paused
FROM token_ledger_budgets
WHERE
    recounted_at IS NULL
    -- A budget without end is compared with every call of the ledger.
    OR recounted_at < now() - CASE period WHEN 'total' THEN interval '1 hour' ELSE interval '5 minutes' END
ORDER BY recounted_at NULLS FIRST, budget_id

-- name: may_recount
-- Whether this user may correct the sums of budgets.
SELECT
    bool_and(has_table_privilege(name, 'UPDATE')) AS may
FROM unnest(
    ARRAY['token_ledger_budgets', 'token_ledger_budget_buckets', 'token_ledger_budget_accounts']
) AS tables (name)

-- name: add_accounts
-- Creates the accounts of calls that are in none yet, so that they can be locked.
INSERT INTO token_ledger_budget_accounts (budget_id, value)
SELECT DISTINCT %(budget_id)s::integer, {value}
FROM token_ledger_events
WHERE timestamp >= %(since)s AND timestamp < %(until)s AND {has_value} {where}
ORDER BY 1, 2
ON CONFLICT DO NOTHING

-- name: window
-- The current period of a budget.
SELECT starts_at, COALESCE(ends_at, '9999-01-01') AS ends_at
FROM token_ledger_budgets
CROSS JOIN LATERAL token_ledger_budget_window(period, days, timezone, now())
WHERE budget_id = %(budget_id)s

-- name: lock_accounts
-- Locks the accounts of a budget, in the order of every other lock: calls are committed before or after.
SELECT count(*)
FROM (
    SELECT value
    FROM token_ledger_budget_accounts
    WHERE
        budget_id = %(budget_id)s
        AND (%(charged_since)s::timestamptz IS NULL OR charged_at >= %(charged_since)s)
    ORDER BY budget_id, value
    FOR UPDATE
) AS locked

-- name: recount
-- Replaces the sums of the locked accounts by those of the calls. Returns what was wrong, US dollars.
WITH counted AS (
    SELECT
        {value} AS value,
        token_ledger_budget_bucket(%(period)s, %(timezone)s, {moment}) AS starts_at,
        COALESCE(sum(cost_usd), 0) AS spent_usd,
        count(*) AS calls,
        count(*) FILTER (WHERE cost_usd IS NULL) AS unpriced_calls
    FROM token_ledger_events
    WHERE timestamp >= %(since)s AND timestamp < %(until)s AND {has_value} {where}
    GROUP BY 1, 2
),

accounts AS (
    SELECT value
    FROM token_ledger_budget_accounts
    WHERE
        budget_id = %(budget_id)s
        AND (%(charged_since)s::timestamptz IS NULL OR charged_at >= %(charged_since)s)
),

known AS (
    SELECT buckets.*
    FROM token_ledger_budget_buckets AS buckets
    INNER JOIN accounts ON buckets.value = accounts.value
    WHERE
        buckets.budget_id = %(budget_id)s
        AND buckets.starts_at >= %(since)s AND buckets.starts_at < %(until)s
),

differences AS (
    SELECT
        COALESCE(counted.value, known.value) AS value,
        COALESCE(counted.starts_at, known.starts_at) AS starts_at,
        COALESCE(counted.spent_usd, 0) AS spent_usd,
        COALESCE(counted.calls, 0) AS calls,
        COALESCE(counted.unpriced_calls, 0) AS unpriced_calls,
        COALESCE(counted.spent_usd, 0) - COALESCE(known.spent_usd, 0) AS wrong_usd
    FROM known
    FULL JOIN (SELECT counted.* FROM counted INNER JOIN accounts ON counted.value = accounts.value) AS counted
        ON known.value = counted.value AND known.starts_at = counted.starts_at
    WHERE
        (counted.spent_usd, counted.calls, counted.unpriced_calls)
        IS DISTINCT FROM (known.spent_usd, known.calls, known.unpriced_calls)
),

corrected AS (
    INSERT INTO token_ledger_budget_buckets AS buckets (
        budget_id, value, starts_at, spent_usd, calls, unpriced_calls
    )
    SELECT %(budget_id)s, value, starts_at, spent_usd, calls, unpriced_calls
    FROM differences
    ON CONFLICT (budget_id, value, starts_at) DO UPDATE
    SET
        spent_usd = EXCLUDED.spent_usd,
        calls = EXCLUDED.calls,
        unpriced_calls = EXCLUDED.unpriced_calls,
        unreserved_usd = LEAST(buckets.unreserved_usd, EXCLUDED.spent_usd),
        unreserved_calls = LEAST(buckets.unreserved_calls, EXCLUDED.calls)
    RETURNING value
)

SELECT
    (SELECT count(*) FROM corrected) AS accounts,
    COALESCE((SELECT sum(abs(wrong_usd)) FROM differences), 0) AS wrong_usd

-- name: note_recount
-- Notes that a budget's sums equal its calls, and locks it, unless it is another budget by now.
UPDATE token_ledger_budgets
SET recounted_at = now()
WHERE
    budget_id = %(budget_id)s
    AND (filters, each, period, days, timezone)
    IS NOT DISTINCT FROM (
        %(filters)s::jsonb, %(each)s::text, %(period)s::text, %(days)s::integer, %(timezone)s::text
    )

-- name: drop_old_holds
-- Deletes reservations that count nowhere: requests that were never sent, calls that the ledger has, and
-- those of past periods.
DELETE FROM token_ledger_budget_holds AS holds
WHERE
    expires_at < now() - interval '400 days'
    OR (
        expires_at <= now()
        AND (
            (kind = 'reservation' AND NOT is_sent)
            OR (
                span_key <> ''
                AND EXISTS (
                    SELECT
                    FROM token_ledger_events AS events
                    WHERE
                        events.timestamp >= holds.created_at - interval '10 minutes'
                        AND events.timestamp < holds.expires_at
                        AND events.trace_id = split_part(holds.span_key, ':', 1)
                        AND events.span_id = split_part(holds.span_key, ':', 2)
                )
            )
        )
    )
