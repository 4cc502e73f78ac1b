-- Statements about alerts.

-- name: may_check
-- Whether this user may check alerts and send their messages.
SELECT
    bool_and(has_table_privilege(name, 'UPDATE')) AS may
FROM unnest(
    ARRAY['token_ledger_alerts', 'token_ledger_alert_incidents', 'token_ledger_alert_deliveries']
) AS tables (name)

-- name: alerts
-- Every alert.
SELECT
    alert_id, name, kind, budget, filters, by_dimension, threshold, period, timezone, targets, secret,
    is_paused, checked_at, last_error
FROM token_ledger_alerts
ORDER BY name

-- name: set
-- Creates an alert, or changes all of it but its id.
INSERT INTO token_ledger_alerts (
    name, kind, budget, filters, by_dimension, threshold, period, timezone, targets, secret, is_paused
)
VALUES (
    %(name)s, %(kind)s, %(budget)s, %(filters)s::jsonb, %(by_dimension)s, %(threshold)s, %(period)s,
    %(timezone)s, %(targets)s::text[], %(secret)s, %(is_paused)s
)
ON CONFLICT (name) DO UPDATE
SET
    kind = EXCLUDED.kind,
    budget = EXCLUDED.budget,
    filters = EXCLUDED.filters,
    by_dimension = EXCLUDED.by_dimension,
    threshold = EXCLUDED.threshold,
    period = EXCLUDED.period,
    timezone = EXCLUDED.timezone,
    targets = EXCLUDED.targets,
    secret = EXCLUDED.secret,
    is_paused = EXCLUDED.is_paused,
    changed_at = now(),
    changed_by = SESSION_USER,
    checked_at = NULL,
    last_error = ''

-- name: delete
-- Deletes an alert; its incidents stay.
DELETE FROM token_ledger_alerts
WHERE name = %(name)s

-- name: end_incidents
-- Ends the open incidents of a changed or deleted alert; no message says so.
UPDATE token_ledger_alert_incidents
SET over_at = now(), over_reason = %(reason)s
WHERE alert_id = %(alert_id)s AND over_at IS NULL

-- name: drop_waiting
-- Deletes the messages of an alert that were not delivered.
DELETE FROM token_ledger_alert_deliveries AS deliveries
USING token_ledger_alert_incidents AS incidents
WHERE
    deliveries.incident_id = incidents.incident_id
    AND incidents.alert_id = %(alert_id)s
    AND deliveries.state = 'waiting'

-- name: due
-- Alerts that were not checked for some seconds.
SELECT alert_id
FROM token_ledger_alerts
WHERE
    NOT is_paused
    AND (
        checked_at IS NULL
        OR checked_at <= %(now)s::timestamptz
        - CASE kind WHEN 'unusual' THEN interval '5 minutes' ELSE interval '25 seconds' END
    )
ORDER BY checked_at NULLS FIRST, alert_id

-- name: lock
-- Locks an alert that is due and that no other process checks.
SELECT
    alert_id, name, kind, budget, filters, by_dimension, threshold, period, timezone, targets, secret,
    is_paused, checked_at, last_error
FROM token_ledger_alerts
WHERE
    alert_id = %(alert_id)s
    AND NOT is_paused
    AND (
        checked_at IS NULL
        OR checked_at <= %(now)s::timestamptz
        - CASE kind WHEN 'unusual' THEN interval '5 minutes' ELSE interval '25 seconds' END
    )
FOR UPDATE SKIP LOCKED

-- name: note_check
-- Notes when an alert was checked, and why that failed.
UPDATE token_ledger_alerts
SET checked_at = %(now)s, last_error = %(error)s
WHERE alert_id = %(alert_id)s

-- name: period
-- The period of an alert at a time.
SELECT starts_at, ends_at
FROM token_ledger_budget_window(%(period)s::text, NULL::integer, %(timezone)s::text, %(at)s::timestamptz)

-- name: budget_thresholds
-- A budget's period and thresholds.
SELECT name, limit_usd, period, days, timezone, each, warn_percents, is_paused
FROM token_ledger_budgets
WHERE name = %(budget)s

-- name: budget_accounts
-- The accounts of a budget that have used a share of the limit, in the period at a time.
SELECT
    accounts.value,
    budgets.limit_usd,
    sums.spent_usd + sums.unconfirmed_usd AS used_usd,
    period_of.starts_at,
    period_of.ends_at
FROM token_ledger_budgets AS budgets
CROSS JOIN LATERAL (
    SELECT known.value FROM token_ledger_budget_accounts AS known WHERE known.budget_id = budgets.budget_id
    UNION
    SELECT '' WHERE budgets.each = ''
) AS accounts
CROSS JOIN LATERAL token_ledger_budget_window(
    budgets.period, budgets.days, budgets.timezone, %(at)s::timestamptz
) AS period_of
CROSS JOIN LATERAL token_ledger_budget_sums(
    budgets.budget_id, accounts.value, period_of.starts_at, period_of.ends_at
) AS sums
WHERE
    budgets.name = %(budget)s
    AND (sums.spent_usd + sums.unconfirmed_usd) * 100 >= %(percent)s * budgets.limit_usd
ORDER BY used_usd DESC, accounts.value
LIMIT %(limit)s

-- name: open_incidents
-- The incidents of an alert that are not over.
SELECT incident_id, value, period_starts_at, threshold, facts
FROM token_ledger_alert_incidents
WHERE alert_id = %(alert_id)s AND over_at IS NULL
ORDER BY incident_id

-- name: fire
-- Stores an incident, unless the alert already fired for this value, period and threshold.
INSERT INTO token_ledger_alert_incidents (
    alert_id, alert, kind, value, period_starts_at, threshold, observed, facts
)
VALUES (
    %(alert_id)s, %(alert)s, %(kind)s, %(value)s, %(period_starts_at)s, %(threshold)s, %(observed)s,
    %(facts)s::jsonb
)
ON CONFLICT (alert_id, value, period_starts_at, threshold) DO NOTHING
RETURNING incident_id

-- name: end_incident
-- Ends an incident.
UPDATE token_ledger_alert_incidents
SET over_at = now(), over_reason = %(reason)s
WHERE incident_id = %(incident_id)s AND over_at IS NULL

-- name: queue
-- Queues a message to each target.
INSERT INTO token_ledger_alert_deliveries (incident_id, event, target)
SELECT DISTINCT %(incident_id)s::bigint, %(event)s, target
FROM unnest(%(targets)s::text[]) AS targets (target)
ON CONFLICT DO NOTHING

-- name: claim
-- Claims the next message. An earlier claim without a report marks it as a possible repeat. A message
-- waits for earlier ones about its incident to its target.
UPDATE token_ledger_alert_deliveries AS deliveries
SET
    attempts = attempts + 1,
    is_possible_repeat = is_possible_repeat OR claimed_until IS NOT NULL,
    claimed_until = clock_timestamp() + make_interval(secs => %(lease_seconds)s)
WHERE delivery_id = (
    SELECT candidates.delivery_id
    FROM token_ledger_alert_deliveries AS candidates
    WHERE
        candidates.state = 'waiting'
        AND candidates.next_at <= clock_timestamp()
        AND (candidates.claimed_until IS NULL OR candidates.claimed_until <= clock_timestamp())
        AND candidates.target <> ALL(%(skipped)s::text[])
        AND NOT EXISTS (
            SELECT
            FROM token_ledger_alert_deliveries AS earlier
            WHERE
                earlier.incident_id = candidates.incident_id
                AND earlier.target = candidates.target
                AND earlier.state = 'waiting'
                AND candidates.event = 'over' AND earlier.event = 'fired'
        )
    ORDER BY candidates.attempts, candidates.created_at, candidates.delivery_id
    LIMIT 1
    FOR UPDATE SKIP LOCKED
)
RETURNING delivery_id, attempts

-- name: keep_claim
-- Locks a claimed message while it is sent, and reads what it says.
SELECT
    deliveries.delivery_id,
    deliveries.event,
    deliveries.target,
    deliveries.attempts,
    deliveries.is_possible_repeat,
    deliveries.created_at,
    incidents.incident_id,
    incidents.alert,
    incidents.kind,
    incidents.value,
    incidents.period_starts_at,
    incidents.threshold,
    incidents.observed,
    incidents.facts,
    incidents.fired_at,
    incidents.over_at,
    incidents.over_reason,
    COALESCE(alerts.secret, '') AS secret
FROM token_ledger_alert_deliveries AS deliveries
INNER JOIN token_ledger_alert_incidents AS incidents ON deliveries.incident_id = incidents.incident_id
LEFT JOIN token_ledger_alerts AS alerts ON incidents.alert_id = alerts.alert_id
WHERE
    deliveries.delivery_id = %(delivery_id)s
    AND deliveries.attempts = %(attempts)s
    AND deliveries.state = 'waiting'
FOR UPDATE OF deliveries

-- name: delivered
-- Notes that a target accepted a message.
UPDATE token_ledger_alert_deliveries
SET state = 'delivered', delivered_at = clock_timestamp(), claimed_until = NULL, last_error = ''
WHERE delivery_id = %(delivery_id)s

-- name: failed
-- Notes why a message did not arrive, and when it is tried again; after a day never.
UPDATE token_ledger_alert_deliveries
SET
    state = CASE WHEN created_at < now() - interval '1 day' THEN 'undeliverable' ELSE state END,
    claimed_until = NULL,
    last_error = %(error)s,
    is_possible_repeat = is_possible_repeat OR %(may_have_arrived)s,
    next_at = clock_timestamp() + LEAST(interval '15 seconds' * 2 ^ LEAST(attempts, 10), interval '1 hour')
WHERE delivery_id = %(delivery_id)s
RETURNING state

-- name: counts
-- Messages of each alert by what became of them.
SELECT
    incidents.alert_id,
    count(*) FILTER (WHERE deliveries.state = 'waiting') AS waiting,
    count(*) FILTER (WHERE deliveries.state = 'undeliverable') AS undeliverable,
    count(*) FILTER (WHERE deliveries.is_possible_repeat) AS possible_repeats,
    count(DISTINCT incidents.incident_id) FILTER (WHERE incidents.over_at IS NULL) AS open_incidents,
    max(incidents.fired_at) AS fired_at
FROM token_ledger_alert_incidents AS incidents
LEFT JOIN token_ledger_alert_deliveries AS deliveries ON incidents.incident_id = deliveries.incident_id
GROUP BY incidents.alert_id

-- name: history
-- Incidents of one alert, or of all, newest first, with what became of their messages.
SELECT
    incidents.incident_id,
    incidents.alert,
    incidents.kind,
    incidents.value,
    incidents.period_starts_at,
    incidents.threshold,
    incidents.observed,
    incidents.facts,
    incidents.fired_at,
    incidents.over_at,
    incidents.over_reason,
    COALESCE(messages.delivered, 0) AS delivered,
    COALESCE(messages.waiting, 0) AS waiting,
    COALESCE(messages.undeliverable, 0) AS undeliverable,
    COALESCE(messages.possible_repeats, 0) AS possible_repeats,
    COALESCE(messages.last_error, '') AS last_error
FROM token_ledger_alert_incidents AS incidents
LEFT JOIN LATERAL (
    SELECT
        count(*) FILTER (WHERE deliveries.state = 'delivered') AS delivered,
        count(*) FILTER (WHERE deliveries.state = 'waiting') AS waiting,
        count(*) FILTER (WHERE deliveries.state = 'undeliverable') AS undeliverable,
        count(*) FILTER (WHERE deliveries.is_possible_repeat) AS possible_repeats,
        max(deliveries.last_error) AS last_error
    FROM token_ledger_alert_deliveries AS deliveries
    WHERE deliveries.incident_id = incidents.incident_id
) AS messages ON true
WHERE incidents.alert = COALESCE(%(name)s, incidents.alert)
ORDER BY incidents.incident_id DESC
LIMIT %(limit)s

-- name: drop_old
-- Deletes incidents that were over long ago.
WITH dropped AS (
    DELETE FROM token_ledger_alert_incidents
    WHERE over_at < now() - interval '400 days'
    RETURNING incident_id
)

DELETE FROM token_ledger_alert_deliveries AS deliveries
USING dropped
WHERE deliveries.incident_id = dropped.incident_id
