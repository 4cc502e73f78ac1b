-- Alerts: what is watched, what fired, and the messages about it.
--
-- An incident is unique per alert, value, period and threshold, so that two keepers fire once. A message
-- is claimed under its row's lock. A claim that its sender never reported on marks the next attempt as a
-- possible repeat.

CREATE TABLE token_ledger_alerts (
    alert_id integer GENERATED ALWAYS AS IDENTITY,
    name text NOT NULL,
    kind text NOT NULL,
    budget text NOT NULL DEFAULT '',
    filters jsonb NOT NULL DEFAULT '{}',
    by_dimension text NOT NULL DEFAULT '',
    threshold numeric,
    period text NOT NULL DEFAULT 'day',
    timezone text NOT NULL DEFAULT 'UTC',
    targets text [] NOT NULL,
    secret text NOT NULL DEFAULT '',
    is_paused boolean NOT NULL DEFAULT false,
    changed_at timestamptz NOT NULL DEFAULT now(),
    changed_by text NOT NULL DEFAULT SESSION_USER,
    checked_at timestamptz,
    last_error text NOT NULL DEFAULT '',
    PRIMARY KEY (alert_id),
    CONSTRAINT alert_name_is_unique UNIQUE (name),
    CONSTRAINT alert_name_is_a_word CHECK (name ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$'),
    CONSTRAINT kind_is_known CHECK (kind IN ('budget', 'spend', 'errors', 'unpriced', 'unusual')),
    CONSTRAINT filters_are_an_object CHECK (jsonb_typeof(filters) = 'object'),
    CONSTRAINT only_budget_alerts_have_a_budget CHECK ((kind = 'budget') = (budget <> '')),
    -- The thresholds of a budget are its own.
    CONSTRAINT only_budget_alerts_have_no_threshold CHECK ((kind = 'budget') = (threshold IS NULL)),
    CONSTRAINT threshold_is_finite_and_positive CHECK (threshold > 0 AND threshold < 'Infinity'),
    CONSTRAINT period_is_known CHECK (period IN ('hour', 'day', 'week', 'month')),
    CONSTRAINT there_is_a_target CHECK (cardinality(targets) BETWEEN 1 AND 20),
    -- Other targets are secrets, which are never stored.
    CONSTRAINT targets_hold_no_secret CHECK (
        array_to_string(targets, ' ') ~ '^((env:|file:/|webhook\+https?://)[^\s@?]+( |$))+$'
    ),
    CONSTRAINT secret_is_a_reference CHECK (secret = '' OR secret ~ '^(env:|file:/)\S+$')
);
COMMENT ON TABLE token_ledger_alerts IS 'What is watched, and where messages about it go';
COMMENT ON COLUMN token_ledger_alerts.alert_id IS 'Identity of the alert';
COMMENT ON COLUMN token_ledger_alerts.name IS 'Its name in commands and messages';
COMMENT ON COLUMN token_ledger_alerts.kind IS 'budget: thresholds of a budget; spend: cost per period; errors, unpriced: share of the calls; unusual: cost of an hour against past weeks';
COMMENT ON COLUMN token_ledger_alerts.budget IS 'For budget: its name';
COMMENT ON COLUMN token_ledger_alerts.filters IS 'Dimension -> array of values, like {"team": ["ml"]}; a call counts if every dimension has one of its values';
COMMENT ON COLUMN token_ledger_alerts.by_dimension IS 'Dimension whose values are watched one by one; empty for all calls together';
COMMENT ON COLUMN token_ledger_alerts.threshold IS 'US dollars for spend and unusual, percent for errors and unpriced';
COMMENT ON COLUMN token_ledger_alerts.period IS 'hour, day, week (from Monday) or month of the time zone';
COMMENT ON COLUMN token_ledger_alerts.timezone IS 'Time zone in which periods start';
COMMENT ON COLUMN token_ledger_alerts.targets IS 'Where messages go: env:NAME, file:/path, or a webhook without credentials';
COMMENT ON COLUMN token_ledger_alerts.secret IS 'Where the key is that signs webhooks: env:NAME or file:/path';
COMMENT ON COLUMN token_ledger_alerts.is_paused IS 'Whether it is not checked';
COMMENT ON COLUMN token_ledger_alerts.changed_at IS 'When it was set or changed';
COMMENT ON COLUMN token_ledger_alerts.changed_by IS 'Database user who set or changed it';
COMMENT ON COLUMN token_ledger_alerts.checked_at IS 'When it was last checked';
COMMENT ON COLUMN token_ledger_alerts.last_error IS 'Why the last check failed; empty if it did not';

-- An incident stays when its alert is deleted, so it does not reference token_ledger_alerts.
CREATE TABLE token_ledger_alert_incidents (
    incident_id bigint GENERATED ALWAYS AS IDENTITY,
    alert_id integer NOT NULL,
    alert text NOT NULL,
    kind text NOT NULL,
    value text COLLATE "C" NOT NULL DEFAULT '',
    period_starts_at timestamptz NOT NULL,
    threshold numeric NOT NULL,
    observed numeric NOT NULL,
    facts jsonb NOT NULL DEFAULT '{}',
    fired_at timestamptz NOT NULL DEFAULT now(),
    over_at timestamptz,
    over_reason text NOT NULL DEFAULT '',
    PRIMARY KEY (incident_id),
    CONSTRAINT fires_once UNIQUE (alert_id, value, period_starts_at, threshold)
);
CREATE INDEX token_ledger_alert_incidents_open ON token_ledger_alert_incidents (alert_id) WHERE over_at IS NULL;
COMMENT ON TABLE token_ledger_alert_incidents IS 'When an alert fired, at most once per value, period and threshold, and when it was over';
COMMENT ON COLUMN token_ledger_alert_incidents.incident_id IS 'Identity of the incident';
COMMENT ON COLUMN token_ledger_alert_incidents.alert_id IS 'The alert';
COMMENT ON COLUMN token_ledger_alert_incidents.alert IS 'Its name';
COMMENT ON COLUMN token_ledger_alert_incidents.kind IS 'Its kind';
COMMENT ON COLUMN token_ledger_alert_incidents.value IS 'Value of the dimension that is watched; empty without one';
COMMENT ON COLUMN token_ledger_alert_incidents.period_starts_at IS 'Start of the period';
COMMENT ON COLUMN token_ledger_alert_incidents.threshold IS 'What was reached: US dollars or percent';
COMMENT ON COLUMN token_ledger_alert_incidents.observed IS 'What was measured when it fired: US dollars or percent';
COMMENT ON COLUMN token_ledger_alert_incidents.facts IS 'What the message says';
COMMENT ON COLUMN token_ledger_alert_incidents.fired_at IS 'When it fired';
COMMENT ON COLUMN token_ledger_alert_incidents.over_at IS 'When it was over';
COMMENT ON COLUMN token_ledger_alert_incidents.over_reason IS 'below: no longer reached; period: a new period started; changed or deleted: the alert was';

CREATE TABLE token_ledger_alert_deliveries (
    delivery_id uuid NOT NULL DEFAULT gen_random_uuid(),
    incident_id bigint NOT NULL,
    event text NOT NULL,
    target text NOT NULL,
    state text NOT NULL DEFAULT 'waiting',
    attempts integer NOT NULL DEFAULT 0,
    is_possible_repeat boolean NOT NULL DEFAULT false,
    last_error text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    next_at timestamptz NOT NULL DEFAULT now(),
    claimed_until timestamptz,
    delivered_at timestamptz,
    PRIMARY KEY (delivery_id),
    CONSTRAINT one_message_per_event UNIQUE (incident_id, target, event),
    CONSTRAINT event_is_known CHECK (event IN ('fired', 'over')),
    CONSTRAINT state_is_known CHECK (state IN ('waiting', 'delivered', 'undeliverable'))
);
CREATE INDEX token_ledger_alert_deliveries_waiting ON token_ledger_alert_deliveries (next_at)
WHERE state = 'waiting';
COMMENT ON TABLE token_ledger_alert_deliveries IS 'Messages about incidents, one per target, and what became of them';
COMMENT ON COLUMN token_ledger_alert_deliveries.delivery_id IS 'Identity of the message; the Idempotency-Key of a webhook';
COMMENT ON COLUMN token_ledger_alert_deliveries.incident_id IS 'The incident';
COMMENT ON COLUMN token_ledger_alert_deliveries.event IS 'fired or over';
COMMENT ON COLUMN token_ledger_alert_deliveries.target IS 'Where it goes, as in token_ledger_alerts.targets';
COMMENT ON COLUMN token_ledger_alert_deliveries.state IS 'waiting, delivered, or undeliverable: given up after a day';
COMMENT ON COLUMN token_ledger_alert_deliveries.attempts IS 'How often it was tried';
COMMENT ON COLUMN token_ledger_alert_deliveries.is_possible_repeat IS 'Whether an earlier attempt may have arrived: its sender ended, or got no answer in time';
COMMENT ON COLUMN token_ledger_alert_deliveries.last_error IS 'Why the last attempt failed; never a secret';
COMMENT ON COLUMN token_ledger_alert_deliveries.created_at IS 'When it was queued';
COMMENT ON COLUMN token_ledger_alert_deliveries.next_at IS 'When it is tried again';
COMMENT ON COLUMN token_ledger_alert_deliveries.claimed_until IS 'Until when a sender has it; NULL if none has';
COMMENT ON COLUMN token_ledger_alert_deliveries.delivered_at IS 'When the target accepted it';

ALTER TABLE token_ledger_alerts ENABLE ROW LEVEL SECURITY;
ALTER TABLE token_ledger_alert_incidents ENABLE ROW LEVEL SECURITY;
ALTER TABLE token_ledger_alert_deliveries ENABLE ROW LEVEL SECURITY;

-- As in 0001_calls: the body names the ledger's schema (HOME), and the search path holds none.
DO $migration$
DECLARE
    home text := pg_catalog.quote_ident(pg_catalog.current_schema()::text);
BEGIN
    EXECUTE pg_catalog.replace($create$
        -- An alert's filters and its incidents may name the person.
        CREATE FUNCTION HOME.token_ledger_erase_alerts(id text, pseudonym text) RETURNS bigint
        LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
        DECLARE
            pattern text := '%' || replace(to_json(id)::text, '\', '\\') || '%';
            changed bigint;
            incidents bigint;
        BEGIN
            IF HOME.token_ledger_pseudonym_of(id) IS DISTINCT FROM pseudonym THEN
                RAISE EXCEPTION 'permission denied: this person was not erased'
                    USING ERRCODE = 'insufficient_privilege', HINT = 'run tokenledger erase';
            END IF;
            UPDATE HOME.token_ledger_alerts
            SET filters = replace(filters::text, to_json(id)::text, to_json(pseudonym)::text)::jsonb
            WHERE filters::text LIKE pattern;
            GET DIAGNOSTICS changed = ROW_COUNT;
            UPDATE HOME.token_ledger_alert_incidents
            SET
                value = CASE WHEN value = id THEN pseudonym ELSE value END,
                facts = replace(facts::text, to_json(id)::text, to_json(pseudonym)::text)::jsonb
            WHERE value = id OR facts::text LIKE pattern;
            GET DIAGNOSTICS incidents = ROW_COUNT;
            RETURN changed + incidents;
        END
        $body$
    $create$, 'HOME', home);
END
$migration$;
REVOKE ALL ON FUNCTION token_ledger_erase_alerts(text, text) FROM PUBLIC;
COMMENT ON FUNCTION token_ledger_erase_alerts(text, text) IS
'Replaces the id of an erased person in alerts and their incidents; returns the number of changed rows';
