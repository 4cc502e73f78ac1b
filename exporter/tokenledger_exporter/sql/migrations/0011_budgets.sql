-- Budgets: what may be spent, what was spent, and what calls in flight have reserved.
--
-- A reservation takes the row lock of each budget's account, always in the same order. The sums are read
-- under that lock, so that two callers never spend the same money. The commit of a call adds its cost and
-- frees its reservation in one transaction.

CREATE TABLE token_ledger_budgets (
    budget_id integer GENERATED ALWAYS AS IDENTITY,
    name text NOT NULL,
    filters jsonb NOT NULL DEFAULT '{}',
    each text NOT NULL DEFAULT '',
    limit_usd numeric NOT NULL,
    period text NOT NULL DEFAULT 'month',
    days integer,
    timezone text NOT NULL DEFAULT 'UTC',
    action text NOT NULL DEFAULT 'block',
    warn_percents integer [] NOT NULL DEFAULT '{}',
    unpriced text NOT NULL DEFAULT 'allow',
    on_outage text NOT NULL DEFAULT 'allow',
    is_paused boolean NOT NULL DEFAULT false,
    changed_at timestamptz NOT NULL DEFAULT now(),
    changed_by text NOT NULL DEFAULT CURRENT_USER,
    recounted_at timestamptz,
    PRIMARY KEY (budget_id),
    CONSTRAINT name_is_unique UNIQUE (name),
    CONSTRAINT name_is_a_word CHECK (name ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$'),
    CONSTRAINT filters_are_an_object CHECK (jsonb_typeof(filters) = 'object'),
    -- NaN and Infinity sort above every number.
    CONSTRAINT limit_is_finite_and_positive CHECK (limit_usd > 0 AND limit_usd < 'Infinity'),
    CONSTRAINT period_is_known CHECK (period IN ('hour', 'day', 'week', 'month', 'rolling', 'total')),
    CONSTRAINT only_rolling_periods_have_days CHECK (
        (period = 'rolling') = (days IS NOT NULL) AND days BETWEEN 1 AND 366
    ),
    CONSTRAINT action_is_known CHECK (action IN ('block', 'alert')),
    CONSTRAINT warnings_are_percents CHECK (0 < ALL (warn_percents) AND 1000 >= ALL (warn_percents)),
    CONSTRAINT unpriced_is_known CHECK (unpriced IN ('allow', 'refuse', 'estimate')),
    CONSTRAINT on_outage_is_known CHECK (on_outage IN ('allow', 'refuse'))
);
COMMENT ON TABLE token_ledger_budgets IS 'What may be spent per period; every budget that matches a call must have room for it';
COMMENT ON COLUMN token_ledger_budgets.budget_id IS 'Identity of the budget';
COMMENT ON COLUMN token_ledger_budgets.name IS 'Its name in commands, errors and reports';
COMMENT ON COLUMN token_ledger_budgets.filters IS 'Dimension -> array of values, like {"team": ["ml"]}; a call matches if every dimension has one of its values';
COMMENT ON COLUMN token_ledger_budgets.each IS 'Dimension that has one limit per value, like user; empty for one limit in all. Calls without a value have no limit';
COMMENT ON COLUMN token_ledger_budgets.limit_usd IS 'What may be spent per period, US dollars';
COMMENT ON COLUMN token_ledger_budgets.period IS 'hour, day, week (from Monday) or month of the time zone; rolling: the last days; total: without end';
COMMENT ON COLUMN token_ledger_budgets.days IS 'For a rolling period: how many days, today included';
COMMENT ON COLUMN token_ledger_budgets.timezone IS 'Time zone in which periods start';
COMMENT ON COLUMN token_ledger_budgets.action IS 'block refuses calls that have no room; alert only reports';
COMMENT ON COLUMN token_ledger_budgets.warn_percents IS 'Shares of the limit that are reported when they are reached, percent';
COMMENT ON COLUMN token_ledger_budgets.unpriced IS 'Calls without a price: allow counts them as 0, refuse refuses them, estimate counts the average of the priced calls';
COMMENT ON COLUMN token_ledger_budgets.on_outage IS 'What apps do with calls while they cannot reach this database: allow or refuse';
COMMENT ON COLUMN token_ledger_budgets.is_paused IS 'Whether the budget counts without refusing or reporting';
COMMENT ON COLUMN token_ledger_budgets.changed_at IS 'When it was set or changed';
COMMENT ON COLUMN token_ledger_budgets.changed_by IS 'Database user who set or changed it';
COMMENT ON COLUMN token_ledger_budgets.recounted_at IS 'When its sums were last compared with the calls';

CREATE TABLE token_ledger_budget_changes (
    change_id bigint GENERATED ALWAYS AS IDENTITY,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    changed_by text NOT NULL DEFAULT CURRENT_USER,
    budget text NOT NULL,
    action text NOT NULL,
    definition jsonb NOT NULL DEFAULT '{}',
    PRIMARY KEY (change_id)
);
COMMENT ON TABLE token_ledger_budget_changes IS 'Every change of a budget; apps read the budgets again when it has more rows';
COMMENT ON COLUMN token_ledger_budget_changes.change_id IS 'Number of the change';
COMMENT ON COLUMN token_ledger_budget_changes.recorded_at IS 'When it was made';
COMMENT ON COLUMN token_ledger_budget_changes.changed_by IS 'Database user who made it';
COMMENT ON COLUMN token_ledger_budget_changes.budget IS 'Name of the budget';
COMMENT ON COLUMN token_ledger_budget_changes.action IS 'set, changed, paused, resumed, deleted or released';
COMMENT ON COLUMN token_ledger_budget_changes.definition IS 'The budget after the change; before it if it was deleted';

-- A call must not fail because a budget was deleted, so these tables do not reference token_ledger_budgets.
CREATE TABLE token_ledger_budget_accounts (
    budget_id integer NOT NULL,
    value text COLLATE "C" NOT NULL,
    charged_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (budget_id, value)
);
COMMENT ON TABLE token_ledger_budget_accounts IS 'One row per budget and value of its dimension; its lock orders reservations and commits';
COMMENT ON COLUMN token_ledger_budget_accounts.budget_id IS 'The budget';
COMMENT ON COLUMN token_ledger_budget_accounts.value IS 'Value of the dimension in token_ledger_budgets.each; empty without one';
COMMENT ON COLUMN token_ledger_budget_accounts.charged_at IS 'When a call was last added';

CREATE TABLE token_ledger_budget_buckets (
    budget_id integer NOT NULL,
    value text COLLATE "C" NOT NULL,
    starts_at timestamptz NOT NULL,
    spent_usd numeric NOT NULL DEFAULT 0,
    unconfirmed_usd numeric NOT NULL DEFAULT 0,
    unreserved_usd numeric NOT NULL DEFAULT 0,
    calls bigint NOT NULL DEFAULT 0,
    unpriced_calls bigint NOT NULL DEFAULT 0,
    unreserved_calls bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (budget_id, value, starts_at)
);
COMMENT ON TABLE token_ledger_budget_buckets IS 'What was spent, by budget, value and period; a rolling period has one row per day';
COMMENT ON COLUMN token_ledger_budget_buckets.budget_id IS 'The budget';
COMMENT ON COLUMN token_ledger_budget_buckets.value IS 'Value of its dimension';
COMMENT ON COLUMN token_ledger_budget_buckets.starts_at IS 'Start of the period, or of the day';
COMMENT ON COLUMN token_ledger_budget_buckets.spent_usd IS 'Known cost of the committed calls, US dollars';
COMMENT ON COLUMN token_ledger_budget_buckets.unconfirmed_usd IS 'Estimated cost of calls that were sent and whose usage is unknown, US dollars';
COMMENT ON COLUMN token_ledger_budget_buckets.unreserved_usd IS 'Part of spent_usd that no app reserved before, US dollars';
COMMENT ON COLUMN token_ledger_budget_buckets.calls IS 'Committed calls';
COMMENT ON COLUMN token_ledger_budget_buckets.unpriced_calls IS 'Those of them without a known cost';
COMMENT ON COLUMN token_ledger_budget_buckets.unreserved_calls IS 'Those of them that no app reserved before';

CREATE TABLE token_ledger_budget_holds (
    holder text COLLATE "C" NOT NULL,
    budget_id integer NOT NULL,
    value text COLLATE "C" NOT NULL,
    kind text NOT NULL,
    usd numeric NOT NULL,
    is_sent boolean NOT NULL DEFAULT true,
    span_key text NOT NULL DEFAULT '',
    app_name text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (holder, budget_id, value),
    CONSTRAINT kind_is_known CHECK (kind IN ('lease', 'reservation')),
    CONSTRAINT usd_is_finite_and_not_negative CHECK (usd >= 0 AND usd < 'Infinity'),
    CONSTRAINT texts_are_short CHECK (
        length(holder) BETWEEN 1 AND 128 AND length(span_key) <= 64 AND length(app_name) <= 255
    )
);
CREATE INDEX token_ledger_budget_holds_account ON token_ledger_budget_holds (budget_id, value);
CREATE INDEX token_ledger_budget_holds_span ON token_ledger_budget_holds (span_key) WHERE span_key <> '';
COMMENT ON TABLE token_ledger_budget_holds IS 'Money that calls in flight have reserved. Once expired, it is spent and unconfirmed if a request may have been sent, and free otherwise';
COMMENT ON COLUMN token_ledger_budget_holds.holder IS 'The process of a lease, or the reservation''s id';
COMMENT ON COLUMN token_ledger_budget_holds.budget_id IS 'The budget';
COMMENT ON COLUMN token_ledger_budget_holds.value IS 'Value of its dimension';
COMMENT ON COLUMN token_ledger_budget_holds.kind IS 'lease: a process reserves for many calls; reservation: for one call';
COMMENT ON COLUMN token_ledger_budget_holds.usd IS 'What is reserved, US dollars';
COMMENT ON COLUMN token_ledger_budget_holds.is_sent IS 'Whether a request may have been sent';
COMMENT ON COLUMN token_ledger_budget_holds.span_key IS 'trace_id:span_id of the call of a reservation, whose commit frees it; empty if not known';
COMMENT ON COLUMN token_ledger_budget_holds.app_name IS 'App that reserved it';
COMMENT ON COLUMN token_ledger_budget_holds.created_at IS 'When it was first reserved';
COMMENT ON COLUMN token_ledger_budget_holds.expires_at IS 'When its holder counts as dead; a living one moves this forward';

CREATE TABLE token_ledger_refusals (
    minute timestamptz NOT NULL,
    budget text NOT NULL,
    value text COLLATE "C" NOT NULL,
    app_name text NOT NULL,
    reason text NOT NULL,
    refused_calls bigint NOT NULL DEFAULT 0,
    needed_usd numeric NOT NULL DEFAULT 0,
    PRIMARY KEY (minute, budget, value, app_name, reason)
);
COMMENT ON TABLE token_ledger_refusals IS 'Calls that a budget refused before they were sent; they are not calls in token_ledger_events';
COMMENT ON COLUMN token_ledger_refusals.minute IS 'Minute of the refusals';
COMMENT ON COLUMN token_ledger_refusals.budget IS 'Name of the budget';
COMMENT ON COLUMN token_ledger_refusals.value IS 'Value of its dimension';
COMMENT ON COLUMN token_ledger_refusals.app_name IS 'App whose calls were refused';
COMMENT ON COLUMN token_ledger_refusals.reason IS 'limit: no room; unpriced: the call has no price';
COMMENT ON COLUMN token_ledger_refusals.refused_calls IS 'How many calls were refused';
COMMENT ON COLUMN token_ledger_refusals.needed_usd IS 'Their estimated cost, US dollars';

ALTER TABLE token_ledger_budgets ENABLE ROW LEVEL SECURITY;
ALTER TABLE token_ledger_budget_changes ENABLE ROW LEVEL SECURITY;
ALTER TABLE token_ledger_budget_accounts ENABLE ROW LEVEL SECURITY;
ALTER TABLE token_ledger_budget_buckets ENABLE ROW LEVEL SECURITY;
ALTER TABLE token_ledger_budget_holds ENABLE ROW LEVEL SECURITY;
ALTER TABLE token_ledger_refusals ENABLE ROW LEVEL SECURITY;

-- As in 0001_calls: the bodies name the ledger's schema (HOME), and the search path holds none.
DO $migration$
DECLARE
    home text := pg_catalog.quote_ident(pg_catalog.current_schema()::text);
BEGIN
    EXECUTE pg_catalog.replace($create$
        CREATE FUNCTION HOME.token_ledger_budget_bucket(period text, timezone text, at timestamptz)
        RETURNS timestamptz
        LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $body$
            SELECT CASE period
                WHEN 'total' THEN to_timestamp(0)
                WHEN 'rolling' THEN date_trunc('day', at, timezone)
                ELSE date_trunc(period, at, timezone)
            END
        $body$
    $create$, 'HOME', home);

    EXECUTE pg_catalog.replace($create$
        -- The local time is moved, so that a day has 23 or 25 hours when the clocks change. An hour has
        -- 60 minutes even then.
        CREATE FUNCTION HOME.token_ledger_budget_window(
            period text, days integer, timezone text, at timestamptz,
            OUT starts_at timestamptz, OUT ends_at timestamptz
        )
        LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $body$
            SELECT
                CASE
                    WHEN period = 'rolling' THEN
                        (date_trunc('day', at AT TIME ZONE timezone) - make_interval(days => days - 1))
                        AT TIME ZONE timezone
                    ELSE HOME.token_ledger_budget_bucket(period, timezone, at)
                END,
                CASE
                    WHEN period = 'total' THEN NULL
                    WHEN period = 'hour' THEN date_trunc('hour', at, timezone) + interval '1 hour'
                    WHEN period = 'rolling' THEN
                        (date_trunc('day', at AT TIME ZONE timezone) + interval '1 day')
                        AT TIME ZONE timezone
                    ELSE
                        (date_trunc(period, at AT TIME ZONE timezone) + ('1 ' || period)::interval)
                        AT TIME ZONE timezone
                END
        $body$
    $create$, 'HOME', home);

    EXECUTE pg_catalog.replace($create$
        CREATE FUNCTION HOME.token_ledger_budget_sums(
            budget integer, account_value text, since timestamptz, until timestamptz,
            OUT spent_usd numeric, OUT unconfirmed_usd numeric, OUT reserved_usd numeric,
            OUT unreserved_usd numeric, OUT calls bigint, OUT unpriced_calls bigint,
            OUT unreserved_calls bigint
        )
        LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $body$
            SELECT
                charged.spent_usd,
                charged.unconfirmed_usd + held.unconfirmed_usd,
                held.reserved_usd,
                charged.unreserved_usd,
                charged.calls,
                charged.unpriced_calls,
                charged.unreserved_calls
            FROM (
                SELECT
                    COALESCE(sum(buckets.spent_usd), 0) AS spent_usd,
                    COALESCE(sum(buckets.unconfirmed_usd), 0) AS unconfirmed_usd,
                    COALESCE(sum(buckets.unreserved_usd), 0) AS unreserved_usd,
                    COALESCE(sum(buckets.calls), 0)::bigint AS calls,
                    COALESCE(sum(buckets.unpriced_calls), 0)::bigint AS unpriced_calls,
                    COALESCE(sum(buckets.unreserved_calls), 0)::bigint AS unreserved_calls
                FROM HOME.token_ledger_budget_buckets AS buckets
                WHERE
                    buckets.budget_id = budget AND buckets.value = account_value
                    AND buckets.starts_at >= since
                    AND buckets.starts_at < COALESCE(until, 'infinity')
            ) AS charged
            CROSS JOIN (
                SELECT
                    COALESCE(
                        sum(holds.usd) FILTER (WHERE holds.expires_at > clock_timestamp()), 0
                    ) AS reserved_usd,
                    COALESCE(
                        sum(holds.usd) FILTER (
                            WHERE
                            holds.expires_at <= clock_timestamp()
                            AND holds.expires_at >= since
                            AND (holds.kind = 'lease' OR holds.is_sent)
                        ), 0
                    ) AS unconfirmed_usd
                FROM HOME.token_ledger_budget_holds AS holds
                WHERE holds.budget_id = budget AND holds.value = account_value
            ) AS held
        $body$
    $create$, 'HOME', home);

    EXECUTE pg_catalog.replace($create$
        -- The blocking budgets that match a call, with the account of each.
        CREATE FUNCTION HOME.token_ledger_matching_budgets(dimensions jsonb)
        RETURNS TABLE (budget_id integer, value text)
        LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $body$
            SELECT
                budgets.budget_id,
                CASE
                    WHEN budgets.each = '' THEN ''
                    WHEN NOT EXISTS (SELECT FROM HOME.token_ledger_erasures)
                        THEN dimensions ->> budgets.each
                    ELSE HOME.token_ledger_pseudonym_of(dimensions ->> budgets.each)
                END
            FROM HOME.token_ledger_budgets AS budgets
            WHERE
                budgets.action = 'block'
                AND NOT budgets.is_paused
                AND (budgets.each = '' OR COALESCE(dimensions ->> budgets.each, '') <> '')
                AND NOT EXISTS (
                    SELECT
                    FROM jsonb_each(budgets.filters) AS filter (dimension, allowed)
                    WHERE NOT filter.allowed ? COALESCE(dimensions ->> filter.dimension, '')
                )
        $body$
    $create$, 'HOME', home);

    EXECUTE pg_catalog.replace($create$
        -- The rule by which a call is refused; `usd` is NULL for a call without a price. `spent_usd`
        -- includes what is unconfirmed, and the calls without a price if the budget estimates them.
        CREATE FUNCTION HOME.token_ledger_budget_room(
            budgets integer [], vals text [], usd numeric, at timestamptz
        )
        RETURNS TABLE (
            budget_id integer, budget text, value text, limit_usd numeric, spent_usd numeric,
            reserved_usd numeric, left_usd numeric, needed_usd numeric, resets_at timestamptz,
            reason text
        )
        LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $body$
            SELECT
                sums.budget_id,
                sums.budget,
                sums.value,
                sums.limit_usd,
                sums.spent_usd,
                sums.reserved_usd,
                sums.limit_usd - sums.spent_usd - sums.reserved_usd,
                sums.needed_usd,
                sums.resets_at,
                CASE
                    WHEN token_ledger_budget_room.usd IS NULL AND sums.unpriced = 'refuse'
                        THEN 'unpriced'
                    WHEN sums.spent_usd + sums.reserved_usd + sums.needed_usd > sums.limit_usd
                        -- A call that costs nothing is refused at the limit too.
                        OR sums.spent_usd + sums.reserved_usd >= sums.limit_usd
                        THEN 'limit'
                    ELSE ''
                END
            FROM (
                SELECT
                    known.budget_id,
                    known.name AS budget,
                    account.value,
                    known.limit_usd,
                    known.unpriced,
                    totals.spent_usd + totals.unconfirmed_usd + CASE
                        WHEN known.unpriced = 'estimate' THEN totals.unpriced_calls * average.usd
                        ELSE 0
                    END AS spent_usd,
                    totals.reserved_usd,
                    COALESCE(
                        token_ledger_budget_room.usd,
                        CASE WHEN known.unpriced = 'estimate' THEN average.usd ELSE 0 END
                    ) AS needed_usd,
                    period_of.ends_at AS resets_at
                FROM unnest(token_ledger_budget_room.budgets, token_ledger_budget_room.vals)
                    AS account (budget_id, value)
                INNER JOIN HOME.token_ledger_budgets AS known ON account.budget_id = known.budget_id
                CROSS JOIN LATERAL HOME.token_ledger_budget_window(
                    known.period, known.days, known.timezone, token_ledger_budget_room.at
                ) AS period_of
                CROSS JOIN LATERAL HOME.token_ledger_budget_sums(
                    known.budget_id, account.value, period_of.starts_at, period_of.ends_at
                ) AS totals
                CROSS JOIN LATERAL (
                    SELECT CASE
                        WHEN totals.calls > totals.unpriced_calls
                            THEN totals.spent_usd / (totals.calls - totals.unpriced_calls)
                        ELSE 0
                    END AS usd
                ) AS average
            ) AS sums
        $body$
    $create$, 'HOME', home);

    EXECUTE pg_catalog.replace($create$
        -- All or nothing: if one budget has no room, no money is reserved in the others, and only the
        -- budgets that refuse are returned. A lease is given more than one call needs while the limit is
        -- far: a twentieth of what is left, and at most fifty calls. `at` is the time on the caller's clock,
        -- which decides the period of its call, and only a last try is counted as a refusal.
        CREATE FUNCTION HOME.token_ledger_reserve(
            holder text, dimensions jsonb, usd numeric, as_lease boolean DEFAULT false,
            app_name text DEFAULT '', lifetime interval DEFAULT '10 minutes',
            is_sent boolean DEFAULT true, span_key text DEFAULT '',
            at timestamptz DEFAULT clock_timestamp(), is_last_try boolean DEFAULT true
        )
        RETURNS TABLE (
            budget_id integer, budget text, value text, is_refused boolean, reason text,
            granted_usd numeric, needed_usd numeric, limit_usd numeric, spent_usd numeric,
            reserved_usd numeric, resets_at timestamptz
        )
        LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s' AS $body$
        #variable_conflict use_column
        DECLARE
            ids integer [];
            vals text [];
        BEGIN
            IF token_ledger_reserve.usd < 0 OR NOT token_ledger_reserve.usd < 'Infinity' THEN
                RAISE EXCEPTION 'the reserved amount must be 0 or more and finite, not %', token_ledger_reserve.usd
                    USING ERRCODE = 'invalid_parameter_value';
            END IF;
            IF token_ledger_reserve.lifetime NOT BETWEEN interval '1 second' AND interval '1 day' THEN
                RAISE EXCEPTION 'a reservation lives for a second to a day, not %', token_ledger_reserve.lifetime
                    USING ERRCODE = 'invalid_parameter_value';
            END IF;
            SELECT
                array_agg(matching.budget_id ORDER BY matching.budget_id, matching.value),
                array_agg(matching.value ORDER BY matching.budget_id, matching.value)
            INTO ids, vals
            FROM HOME.token_ledger_matching_budgets(token_ledger_reserve.dimensions) AS matching;
            IF ids IS NULL THEN
                RETURN;
            END IF;
            INSERT INTO HOME.token_ledger_budget_accounts (budget_id, value)
            SELECT matching.budget_id, matching.value
            FROM unnest(ids, vals) AS matching (budget_id, value)
            WHERE NOT EXISTS (
                SELECT
                FROM HOME.token_ledger_budget_accounts AS known
                WHERE known.budget_id = matching.budget_id AND known.value = matching.value
            )
            ORDER BY matching.budget_id, matching.value COLLATE "C"
            ON CONFLICT DO NOTHING;
            PERFORM
            FROM HOME.token_ledger_budget_accounts AS accounts
            INNER JOIN unnest(ids, vals) AS matching (budget_id, value)
                ON accounts.budget_id = matching.budget_id AND accounts.value = matching.value
            ORDER BY accounts.budget_id, accounts.value
            FOR UPDATE OF accounts;
            RETURN QUERY
            WITH judged AS (
                SELECT
                    room.*,
                    CASE
                        WHEN
                            token_ledger_reserve.as_lease AND room.left_usd >= 40 * room.needed_usd
                            THEN round(least(room.left_usd / 20, 50 * room.needed_usd), 9)
                        ELSE room.needed_usd
                    END AS granted_usd
                FROM HOME.token_ledger_budget_room(
                    ids, vals, token_ledger_reserve.usd, token_ledger_reserve.at
                ) AS room
            ),

            granted AS (
                INSERT INTO HOME.token_ledger_budget_holds AS holds (
                    holder, budget_id, value, kind, usd, is_sent, span_key, app_name, expires_at
                )
                SELECT
                    token_ledger_reserve.holder,
                    judged.budget_id,
                    judged.value,
                    CASE WHEN token_ledger_reserve.as_lease THEN 'lease' ELSE 'reservation' END,
                    judged.granted_usd,
                    token_ledger_reserve.is_sent,
                    token_ledger_reserve.span_key,
                    token_ledger_reserve.app_name,
                    clock_timestamp() + token_ledger_reserve.lifetime
                FROM judged
                WHERE NOT EXISTS (SELECT FROM judged AS refusing WHERE refusing.reason <> '')
                -- In the order in which commits lock them.
                ORDER BY judged.budget_id, judged.value COLLATE "C"
                ON CONFLICT (holder, budget_id, value) DO UPDATE
                SET usd = holds.usd + EXCLUDED.usd, expires_at = EXCLUDED.expires_at
                RETURNING holds.budget_id, holds.value
            ),

            refused AS (
                INSERT INTO HOME.token_ledger_refusals AS refusals (
                    minute, budget, value, app_name, reason, refused_calls, needed_usd
                )
                SELECT
                    date_trunc('minute', clock_timestamp()), judged.budget, judged.value,
                    token_ledger_reserve.app_name, judged.reason, 1, judged.needed_usd
                FROM judged
                WHERE judged.reason <> '' AND token_ledger_reserve.is_last_try
                ON CONFLICT (minute, budget, value, app_name, reason) DO UPDATE
                SET
                    refused_calls = refusals.refused_calls + 1,
                    needed_usd = refusals.needed_usd + EXCLUDED.needed_usd
                RETURNING refusals.budget
            )

            SELECT
                judged.budget_id,
                judged.budget,
                judged.value,
                judged.reason <> '',
                judged.reason,
                CASE WHEN judged.reason = '' THEN judged.granted_usd ELSE 0 END,
                judged.needed_usd,
                judged.limit_usd,
                judged.spent_usd,
                judged.reserved_usd,
                judged.resets_at
            FROM judged
            WHERE judged.reason <> '' OR EXISTS (SELECT FROM granted)
            ORDER BY judged.budget_id;
        END
        $body$
    $create$, 'HOME', home);

    EXECUTE pg_catalog.replace($create$
        -- Called in the transaction that commits the calls, as its last step. Calls are given by quarter of
        -- an hour since 1970: periods start at whole quarters in every time zone.
        CREATE FUNCTION HOME.token_ledger_charge_budgets(
            budgets integer [], vals text [], quarters bigint [], usd numeric [],
            unconfirmed numeric [], unreserved numeric [], calls bigint [], unpriced bigint [],
            unreserved_calls bigint [],
            lease_holder text, lease_budgets integer [], lease_vals text [], lease_usd numeric [],
            span_keys text []
        ) RETURNS void
        LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
        #variable_conflict use_column
        BEGIN
            IF EXISTS (
                SELECT
                FROM unnest(
                    token_ledger_charge_budgets.usd || token_ledger_charge_budgets.unconfirmed
                    || token_ledger_charge_budgets.unreserved || token_ledger_charge_budgets.lease_usd
                    || token_ledger_charge_budgets.calls::numeric []
                    || token_ledger_charge_budgets.unpriced::numeric []
                    || token_ledger_charge_budgets.unreserved_calls::numeric []
                ) AS amount
                WHERE amount < 0 OR NOT amount < 'Infinity'
            ) THEN
                RAISE EXCEPTION 'what calls add must be 0 or more and finite'
                    USING ERRCODE = 'invalid_parameter_value';
            END IF;
            INSERT INTO HOME.token_ledger_budget_accounts (budget_id, value)
            SELECT DISTINCT charged.budget_id, charged.value COLLATE "C"
            FROM unnest(token_ledger_charge_budgets.budgets, token_ledger_charge_budgets.vals)
                AS charged (budget_id, value)
            INNER JOIN HOME.token_ledger_budgets AS known ON known.budget_id = charged.budget_id
            LEFT JOIN HOME.token_ledger_budget_accounts AS accounts
                ON accounts.budget_id = charged.budget_id AND accounts.value = charged.value
            WHERE accounts.budget_id IS NULL
            ORDER BY charged.budget_id, charged.value COLLATE "C"
            ON CONFLICT DO NOTHING;
            PERFORM
            FROM HOME.token_ledger_budget_accounts AS accounts
            WHERE (accounts.budget_id, accounts.value) IN (
                SELECT charged.budget_id, charged.value COLLATE "C"
                FROM unnest(token_ledger_charge_budgets.budgets, token_ledger_charge_budgets.vals)
                    AS charged (budget_id, value)
                UNION
                SELECT leased.budget_id, leased.value COLLATE "C"
                FROM unnest(
                    token_ledger_charge_budgets.lease_budgets, token_ledger_charge_budgets.lease_vals
                ) AS leased (budget_id, value)
                UNION
                SELECT holds.budget_id, holds.value
                FROM HOME.token_ledger_budget_holds AS holds
                WHERE
                    holds.span_key <> ''
                    AND holds.span_key = ANY(token_ledger_charge_budgets.span_keys)
            )
            ORDER BY accounts.budget_id, accounts.value
            FOR UPDATE;
            INSERT INTO HOME.token_ledger_budget_buckets AS buckets (
                budget_id, value, starts_at, spent_usd, unconfirmed_usd, unreserved_usd, calls,
                unpriced_calls, unreserved_calls
            )
            SELECT
                charged.budget_id,
                charged.value,
                -- As token_ledger_budget_bucket, whose call would take longer than all the rest.
                CASE known.period
                    WHEN 'total' THEN to_timestamp(0)
                    WHEN 'rolling' THEN date_trunc('day', to_timestamp(charged.quarter * 900), known.timezone)
                    ELSE date_trunc(known.period, to_timestamp(charged.quarter * 900), known.timezone)
                END AS starts_at,
                sum(charged.usd),
                sum(charged.unconfirmed),
                sum(charged.unreserved),
                sum(charged.calls),
                sum(charged.unpriced),
                sum(charged.unreserved_calls)
            FROM unnest(
                token_ledger_charge_budgets.budgets, token_ledger_charge_budgets.vals,
                token_ledger_charge_budgets.quarters, token_ledger_charge_budgets.usd,
                token_ledger_charge_budgets.unconfirmed, token_ledger_charge_budgets.unreserved,
                token_ledger_charge_budgets.calls, token_ledger_charge_budgets.unpriced,
                token_ledger_charge_budgets.unreserved_calls
            ) AS charged (
                budget_id, value, quarter, usd, unconfirmed, unreserved, calls, unpriced,
                unreserved_calls
            )
            INNER JOIN HOME.token_ledger_budgets AS known ON known.budget_id = charged.budget_id
            GROUP BY charged.budget_id, charged.value, starts_at
            ON CONFLICT (budget_id, value, starts_at) DO UPDATE
            SET
                spent_usd = buckets.spent_usd + EXCLUDED.spent_usd,
                unconfirmed_usd = buckets.unconfirmed_usd + EXCLUDED.unconfirmed_usd,
                unreserved_usd = buckets.unreserved_usd + EXCLUDED.unreserved_usd,
                calls = buckets.calls + EXCLUDED.calls,
                unpriced_calls = buckets.unpriced_calls + EXCLUDED.unpriced_calls,
                unreserved_calls = buckets.unreserved_calls + EXCLUDED.unreserved_calls;
            UPDATE HOME.token_ledger_budget_accounts AS accounts
            SET charged_at = now()
            FROM unnest(token_ledger_charge_budgets.budgets, token_ledger_charge_budgets.vals)
                AS charged (budget_id, value)
            WHERE
                accounts.budget_id = charged.budget_id AND accounts.value = charged.value
                AND accounts.charged_at < now() - interval '1 minute';
            -- In the order in which token_ledger_keep_leases locks them.
            PERFORM
            FROM HOME.token_ledger_budget_holds AS holds
            WHERE
                holds.holder = token_ledger_charge_budgets.lease_holder
                AND (holds.budget_id, holds.value) IN (
                    SELECT leased.budget_id, leased.value COLLATE "C"
                    FROM unnest(
                        token_ledger_charge_budgets.lease_budgets, token_ledger_charge_budgets.lease_vals
                    ) AS leased (budget_id, value)
                )
            ORDER BY holds.budget_id, holds.value
            FOR UPDATE;
            UPDATE HOME.token_ledger_budget_holds AS holds
            SET usd = greatest(holds.usd - freed.usd, 0)
            FROM (
                SELECT leased.budget_id, leased.value, sum(leased.usd) AS usd
                FROM unnest(
                    token_ledger_charge_budgets.lease_budgets, token_ledger_charge_budgets.lease_vals,
                    token_ledger_charge_budgets.lease_usd
                ) AS leased (budget_id, value, usd)
                GROUP BY leased.budget_id, leased.value
            ) AS freed
            WHERE
                holds.holder = token_ledger_charge_budgets.lease_holder
                AND holds.budget_id = freed.budget_id AND holds.value = freed.value;
            DELETE FROM HOME.token_ledger_budget_holds AS holds
            WHERE holds.span_key <> '' AND holds.span_key = ANY(token_ledger_charge_budgets.span_keys);
        END
        $body$
    $create$, 'HOME', home);

    EXECUTE pg_catalog.replace($create$
        -- A process names the leases that it still needs, and how much it gives back of each. It gives
        -- amounts and not what is left: a commit may free more of the lease at the same time.
        CREATE FUNCTION HOME.token_ledger_keep_leases(
            lease_holder text, budgets integer [], vals text [], given_back numeric [],
            lifetime interval
        ) RETURNS void
        LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s' AS $body$
        #variable_conflict use_column
        BEGIN
            IF EXISTS (
                SELECT
                FROM unnest(token_ledger_keep_leases.given_back) AS amount
                WHERE amount < 0 OR NOT amount < 'Infinity'
            ) THEN
                RAISE EXCEPTION 'what a process gives back must be 0 or more and finite'
                    USING ERRCODE = 'invalid_parameter_value';
            END IF;
            IF token_ledger_keep_leases.lifetime NOT BETWEEN interval '1 second' AND interval '1 day' THEN
                RAISE EXCEPTION 'a lease lives for a second to a day, not %', token_ledger_keep_leases.lifetime
                    USING ERRCODE = 'invalid_parameter_value';
            END IF;
            PERFORM
            FROM HOME.token_ledger_budget_holds AS holds
            WHERE holds.holder = token_ledger_keep_leases.lease_holder
            ORDER BY holds.budget_id, holds.value
            FOR UPDATE;
            UPDATE HOME.token_ledger_budget_holds AS holds
            SET
                usd = greatest(holds.usd - needed.given_back, 0),
                expires_at = clock_timestamp() + token_ledger_keep_leases.lifetime
            FROM unnest(
                token_ledger_keep_leases.budgets, token_ledger_keep_leases.vals,
                token_ledger_keep_leases.given_back
            ) AS needed (budget_id, value, given_back)
            WHERE
                holds.holder = token_ledger_keep_leases.lease_holder AND holds.kind = 'lease'
                AND holds.budget_id = needed.budget_id AND holds.value = needed.value;
            DELETE FROM HOME.token_ledger_budget_holds AS holds
            WHERE
                holds.holder = token_ledger_keep_leases.lease_holder AND holds.kind = 'lease'
                AND NOT EXISTS (
                    SELECT
                    FROM unnest(
                        token_ledger_keep_leases.budgets, token_ledger_keep_leases.vals
                    ) AS needed (budget_id, value)
                    WHERE holds.budget_id = needed.budget_id AND holds.value = needed.value
                );
        END
        $body$
    $create$, 'HOME', home);

    EXECUTE pg_catalog.replace($create$
        -- The call of a reservation ended. Its money is free once the ledger has the call.
        CREATE FUNCTION HOME.token_ledger_settle(
            holder text, usd numeric DEFAULT NULL, trace_id text DEFAULT '', span_id text DEFAULT ''
        ) RETURNS boolean
        LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
        #variable_conflict use_column
        DECLARE
            since timestamptz;
        BEGIN
            IF token_ledger_settle.usd < 0 OR NOT token_ledger_settle.usd < 'Infinity' THEN
                RAISE EXCEPTION 'the cost must be 0 or more and finite, not %', token_ledger_settle.usd
                    USING ERRCODE = 'invalid_parameter_value';
            END IF;
            SELECT min(holds.created_at) INTO since
            FROM HOME.token_ledger_budget_holds AS holds
            WHERE holds.holder = token_ledger_settle.holder AND holds.kind = 'reservation';
            IF since IS NULL THEN
                RETURN false;
            END IF;
            IF token_ledger_settle.trace_id <> '' AND EXISTS (
                SELECT
                FROM HOME.token_ledger_events AS events
                WHERE
                    events.timestamp >= since - interval '10 minutes'
                    AND events.trace_id = token_ledger_settle.trace_id
                    AND events.span_id = token_ledger_settle.span_id
            ) THEN
                DELETE FROM HOME.token_ledger_budget_holds AS holds
                WHERE holds.holder = token_ledger_settle.holder AND holds.kind = 'reservation';
                RETURN true;
            END IF;
            UPDATE HOME.token_ledger_budget_holds AS holds
            SET
                usd = COALESCE(token_ledger_settle.usd, holds.usd),
                is_sent = true,
                span_key = CASE
                    WHEN token_ledger_settle.trace_id = '' THEN holds.span_key
                    ELSE token_ledger_settle.trace_id || ':' || token_ledger_settle.span_id
                END
            WHERE holds.holder = token_ledger_settle.holder AND holds.kind = 'reservation';
            RETURN true;
        END
        $body$
    $create$, 'HOME', home);

    EXECUTE pg_catalog.replace($create$
        -- The requests of a reservation or of a process were never sent, or all of its calls are in the
        -- ledger.
        CREATE FUNCTION HOME.token_ledger_release(holder text) RETURNS numeric
        LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
        #variable_conflict use_column
        DECLARE
            released numeric;
        BEGIN
            WITH gone AS (
                DELETE FROM HOME.token_ledger_budget_holds AS holds
                WHERE holds.holder = token_ledger_release.holder
                RETURNING holds.usd
            )

            SELECT max(gone.usd) INTO released FROM gone;
            RETURN released;
        END
        $body$
    $create$, 'HOME', home);

    EXECUTE pg_catalog.replace($create$
        CREATE FUNCTION HOME.token_ledger_note_budget_change() RETURNS trigger
        LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
        DECLARE
            changed HOME.token_ledger_budgets%ROWTYPE;
            act text;
        BEGIN
            IF TG_OP = 'DELETE' THEN
                changed := OLD;
                act := 'deleted';
                -- Calls lock the account first.
                PERFORM
                FROM HOME.token_ledger_budget_accounts AS accounts
                WHERE accounts.budget_id = OLD.budget_id
                ORDER BY accounts.value
                FOR UPDATE;
                DELETE FROM HOME.token_ledger_budget_holds WHERE budget_id = OLD.budget_id;
                DELETE FROM HOME.token_ledger_budget_buckets WHERE budget_id = OLD.budget_id;
                DELETE FROM HOME.token_ledger_budget_accounts WHERE budget_id = OLD.budget_id;
            ELSE
                changed := NEW;
                act := CASE
                    WHEN TG_OP = 'INSERT' THEN 'set'
                    WHEN NEW.is_paused AND NOT OLD.is_paused THEN 'paused'
                    WHEN OLD.is_paused AND NOT NEW.is_paused THEN 'resumed'
                    ELSE 'changed'
                END;
                IF
                    TG_OP = 'UPDATE' AND (NEW.period, NEW.days, NEW.timezone, NEW.each, NEW.filters)
                    IS DISTINCT FROM (OLD.period, OLD.days, OLD.timezone, OLD.each, OLD.filters)
                THEN
                    DELETE FROM HOME.token_ledger_budget_buckets WHERE budget_id = OLD.budget_id;
                END IF;
            END IF;
            INSERT INTO HOME.token_ledger_budget_changes (changed_by, budget, action, definition)
            VALUES (
                session_user, changed.name, act,
                to_jsonb(changed) - 'budget_id' - 'name' - 'changed_at' - 'changed_by' - 'recounted_at'
            );
            RETURN NULL;
        END
        $body$
    $create$, 'HOME', home);

    EXECUTE pg_catalog.replace($create$
        CREATE FUNCTION HOME.token_ledger_check_budget() RETURNS trigger
        LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
        DECLARE
            dimension text;
            allowed jsonb;
        BEGIN
            FOR dimension, allowed IN
                SELECT key, value FROM jsonb_each(NEW.filters)
                UNION ALL
                SELECT NEW.each, '[""]' WHERE NEW.each <> ''
            LOOP
                IF dimension <> ALL (ARRAY[
                    'provider', 'model', 'operation', 'user', 'session', 'organization', 'project',
                    'feature', 'team', 'cost_center', 'agent', 'endpoint', 'app', 'release',
                    'environment', 'trace'
                ]) AND dimension !~ '^metadata\..' THEN
                    RAISE EXCEPTION 'unknown dimension %', quote_literal(dimension)
                        USING
                            ERRCODE = 'invalid_parameter_value',
                            HINT = 'use a dimension of tokenledger report, trace, or metadata.<key>';
                END IF;
                IF jsonb_typeof(allowed) <> 'array' OR allowed = '[]'::jsonb THEN
                    RAISE EXCEPTION 'the values of % must be an array of texts', dimension
                        USING ERRCODE = 'invalid_parameter_value', HINT = 'like {"team": ["ml"]}';
                END IF;
            END LOOP;
            BEGIN
                PERFORM now() AT TIME ZONE NEW.timezone;
            EXCEPTION WHEN invalid_parameter_value THEN
                RAISE EXCEPTION 'unknown time zone %', quote_literal(NEW.timezone)
                    USING
                        ERRCODE = 'invalid_parameter_value',
                        HINT = 'use an IANA name such as America/New_York';
            END;
            IF
                TG_OP = 'UPDATE' AND (NEW.period, NEW.days, NEW.timezone, NEW.each, NEW.filters)
                IS DISTINCT FROM (OLD.period, OLD.days, OLD.timezone, OLD.each, OLD.filters)
            THEN
                -- The sums of the calls before are counted again.
                NEW.recounted_at := NULL;
            END IF;
            NEW.changed_at := now();
            NEW.changed_by := session_user;
            RETURN NEW;
        END
        $body$
    $create$, 'HOME', home);

    EXECUTE pg_catalog.replace($create$
        -- A team or a feature may have the same name as the person.
        CREATE FUNCTION HOME.token_ledger_rename_in_filters(filters jsonb, id text, pseudonym text)
        RETURNS jsonb
        LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $body$
            SELECT jsonb_object_agg(
                filter.dimension,
                CASE
                    WHEN filter.dimension = 'user' OR filter.dimension LIKE 'metadata.%' THEN (
                        SELECT jsonb_agg(
                            CASE WHEN allowed.value = to_jsonb(id) THEN to_jsonb(pseudonym) ELSE allowed.value END
                            ORDER BY allowed.number
                        )
                        FROM jsonb_array_elements(filter.allowed)
                            WITH ORDINALITY AS allowed (value, number)
                    )
                    ELSE filter.allowed
                END
            )
            FROM jsonb_each(NULLIF(filters, '{}')) AS filter (dimension, allowed)
            HAVING count(*) > 0
            UNION ALL
            SELECT filters WHERE COALESCE(filters, '{}') = '{}'
        $body$
    $create$, 'HOME', home);

    EXECUTE pg_catalog.replace($create$
        -- A budget's values and filters may name the person.
        CREATE FUNCTION HOME.token_ledger_erase_budgets(id text, pseudonym text) RETURNS bigint
        LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
        DECLARE
            changed bigint := 0;
            found_rows bigint;
            people integer [];
            naming integer [];
            kept HOME.token_ledger_budget_buckets [];
        BEGIN
            IF HOME.token_ledger_pseudonym_of(id) IS DISTINCT FROM pseudonym THEN
                RAISE EXCEPTION 'permission denied: this person was not erased'
                    USING ERRCODE = 'insufficient_privilege', HINT = 'run tokenledger erase';
            END IF;
            SELECT array_agg(budgets.budget_id) INTO people FROM HOME.token_ledger_budgets AS budgets
            WHERE budgets.each = 'user' OR budgets.each LIKE 'metadata.%';
            SELECT array_agg(budgets.budget_id) INTO naming FROM HOME.token_ledger_budgets AS budgets
            WHERE
                HOME.token_ledger_rename_in_filters(budgets.filters, id, pseudonym)
                IS DISTINCT FROM budgets.filters;
            PERFORM
            FROM HOME.token_ledger_budget_accounts AS accounts
            WHERE
                accounts.budget_id = ANY(naming)
                OR (accounts.budget_id = ANY(people) AND accounts.value IN (id, pseudonym))
            ORDER BY accounts.budget_id, accounts.value
            FOR UPDATE;
            -- There may be rows under both: calls were in flight while the person was erased before.
            WITH gone AS (
                DELETE FROM HOME.token_ledger_budget_accounts
                WHERE budget_id = ANY(people) AND value = id
                RETURNING budget_id, charged_at
            )

            INSERT INTO HOME.token_ledger_budget_accounts (budget_id, value, charged_at)
            SELECT gone.budget_id, pseudonym, gone.charged_at FROM gone
            ON CONFLICT (budget_id, value) DO UPDATE SET charged_at = EXCLUDED.charged_at;
            GET DIAGNOSTICS found_rows = ROW_COUNT;
            changed := changed + found_rows;
            WITH gone AS (
                DELETE FROM HOME.token_ledger_budget_buckets
                WHERE budget_id = ANY(people) AND value = id
                RETURNING *
            )

            INSERT INTO HOME.token_ledger_budget_buckets AS buckets (
                budget_id, value, starts_at, spent_usd, unconfirmed_usd, unreserved_usd, calls,
                unpriced_calls, unreserved_calls
            )
            SELECT
                gone.budget_id, pseudonym, gone.starts_at, gone.spent_usd, gone.unconfirmed_usd,
                gone.unreserved_usd, gone.calls, gone.unpriced_calls, gone.unreserved_calls
            FROM gone
            ON CONFLICT (budget_id, value, starts_at) DO UPDATE
            SET
                spent_usd = buckets.spent_usd + EXCLUDED.spent_usd,
                unconfirmed_usd = buckets.unconfirmed_usd + EXCLUDED.unconfirmed_usd,
                unreserved_usd = buckets.unreserved_usd + EXCLUDED.unreserved_usd,
                calls = buckets.calls + EXCLUDED.calls,
                unpriced_calls = buckets.unpriced_calls + EXCLUDED.unpriced_calls,
                unreserved_calls = buckets.unreserved_calls + EXCLUDED.unreserved_calls;
            WITH gone AS (
                DELETE FROM HOME.token_ledger_budget_holds
                WHERE budget_id = ANY(people) AND value = id
                RETURNING *
            )

            INSERT INTO HOME.token_ledger_budget_holds AS holds (
                holder, budget_id, value, kind, usd, is_sent, span_key, app_name, created_at, expires_at
            )
            SELECT
                gone.holder, gone.budget_id, pseudonym, gone.kind, gone.usd, gone.is_sent, gone.span_key,
                gone.app_name, gone.created_at, gone.expires_at
            FROM gone
            ON CONFLICT (holder, budget_id, value) DO UPDATE SET usd = holds.usd + EXCLUDED.usd;
            -- Refusals of deleted budgets have no dimension any more.
            WITH gone AS (
                DELETE FROM HOME.token_ledger_refusals AS refusals
                WHERE
                    value = id
                    AND NOT EXISTS (
                        SELECT FROM HOME.token_ledger_budgets AS budgets
                        WHERE budgets.name = refusals.budget AND budgets.budget_id <> ALL (people)
                    )
                RETURNING *
            )

            INSERT INTO HOME.token_ledger_refusals AS refusals (
                minute, budget, value, app_name, reason, refused_calls, needed_usd
            )
            SELECT
                gone.minute, gone.budget, pseudonym, gone.app_name, gone.reason, gone.refused_calls,
                gone.needed_usd
            FROM gone
            ON CONFLICT (minute, budget, value, app_name, reason) DO UPDATE
            SET
                refused_calls = refusals.refused_calls + EXCLUDED.refused_calls,
                needed_usd = refusals.needed_usd + EXCLUDED.needed_usd;
            GET DIAGNOSTICS found_rows = ROW_COUNT;
            changed := changed + found_rows;
            -- A change of filters drops the sums, which are right here.
            SELECT array_agg(buckets) INTO kept FROM HOME.token_ledger_budget_buckets AS buckets
            WHERE buckets.budget_id = ANY(naming);
            UPDATE HOME.token_ledger_budgets AS budgets
            SET filters = HOME.token_ledger_rename_in_filters(budgets.filters, id, pseudonym)
            WHERE budgets.budget_id = ANY(naming);
            GET DIAGNOSTICS found_rows = ROW_COUNT;
            changed := changed + found_rows;
            INSERT INTO HOME.token_ledger_budget_buckets SELECT (unnest(kept)).*;
            UPDATE HOME.token_ledger_budget_changes AS changes
            SET definition = jsonb_set(
                changes.definition, '{filters}',
                HOME.token_ledger_rename_in_filters(changes.definition -> 'filters', id, pseudonym)
            )
            WHERE
                HOME.token_ledger_rename_in_filters(changes.definition -> 'filters', id, pseudonym)
                IS DISTINCT FROM changes.definition -> 'filters';
            RETURN changed;
        END
        $body$
    $create$, 'HOME', home);
END
$migration$;

CREATE TRIGGER token_ledger_check_budget BEFORE INSERT OR UPDATE OF
name, filters, each, limit_usd, period, days, timezone, action, warn_percents, unpriced, on_outage, is_paused
ON token_ledger_budgets FOR EACH ROW EXECUTE FUNCTION token_ledger_check_budget();

CREATE TRIGGER token_ledger_note_budget_change AFTER INSERT OR DELETE OR UPDATE OF
name, filters, each, limit_usd, period, days, timezone, action, warn_percents, unpriced, on_outage, is_paused
ON token_ledger_budgets FOR EACH ROW EXECUTE FUNCTION token_ledger_note_budget_change();

CREATE VIEW token_ledger_budget_status WITH (security_invoker = true) AS
SELECT
    budgets.name AS budget,
    accounts.value,
    budgets.limit_usd,
    sums.spent_usd,
    sums.unconfirmed_usd,
    sums.reserved_usd,
    budgets.limit_usd - sums.spent_usd - sums.unconfirmed_usd - sums.reserved_usd AS left_usd,
    sums.calls,
    sums.unpriced_calls,
    sums.unreserved_calls,
    sums.unreserved_usd,
    period_of.starts_at,
    period_of.ends_at AS resets_at,
    budgets.period,
    budgets.action,
    budgets.is_paused
FROM token_ledger_budgets AS budgets
INNER JOIN (
    SELECT budget_id, value FROM token_ledger_budget_accounts
    UNION
    SELECT budget_id, '' FROM token_ledger_budgets WHERE each = ''
) AS accounts ON budgets.budget_id = accounts.budget_id
CROSS JOIN LATERAL token_ledger_budget_window(
    budgets.period, budgets.days, budgets.timezone, now()
) AS period_of
CROSS JOIN LATERAL token_ledger_budget_sums(
    budgets.budget_id, accounts.value, period_of.starts_at, period_of.ends_at
) AS sums;
COMMENT ON VIEW token_ledger_budget_status IS 'Each budget, by value of its dimension, in its current period';
COMMENT ON COLUMN token_ledger_budget_status.budget IS 'Name of the budget';
COMMENT ON COLUMN token_ledger_budget_status.value IS 'Value of its dimension; empty for a budget without one';
COMMENT ON COLUMN token_ledger_budget_status.limit_usd IS 'What may be spent, US dollars';
COMMENT ON COLUMN token_ledger_budget_status.spent_usd IS 'Known cost of the committed calls, US dollars';
COMMENT ON COLUMN token_ledger_budget_status.unconfirmed_usd IS 'Estimated cost of calls that were sent and whose usage is unknown, US dollars';
COMMENT ON COLUMN token_ledger_budget_status.reserved_usd IS 'Reserved by calls in flight and by leases, US dollars';
COMMENT ON COLUMN token_ledger_budget_status.left_usd IS 'What is left of the limit, US dollars; negative if it was exceeded';
COMMENT ON COLUMN token_ledger_budget_status.calls IS 'Committed calls';
COMMENT ON COLUMN token_ledger_budget_status.unpriced_calls IS 'Those of them without a known cost';
COMMENT ON COLUMN token_ledger_budget_status.unreserved_calls IS 'Those of them that no app reserved before';
COMMENT ON COLUMN token_ledger_budget_status.unreserved_usd IS 'Known cost of those, US dollars';
COMMENT ON COLUMN token_ledger_budget_status.starts_at IS 'Start of the period';
COMMENT ON COLUMN token_ledger_budget_status.resets_at IS 'End of the period; of a rolling one, when its oldest day is left out; NULL is never';
COMMENT ON COLUMN token_ledger_budget_status.period IS 'hour, day, week, month, rolling or total';
COMMENT ON COLUMN token_ledger_budget_status.action IS 'block or alert';
COMMENT ON COLUMN token_ledger_budget_status.is_paused IS 'Whether the budget counts without refusing or reporting';

REVOKE ALL ON FUNCTION token_ledger_reserve(
    text, jsonb, numeric, boolean, text, interval, boolean, text, timestamptz, boolean
) FROM PUBLIC;
REVOKE ALL ON FUNCTION token_ledger_charge_budgets(
    integer [], text [], bigint [], numeric [], numeric [], numeric [], bigint [], bigint [], bigint [],
    text, integer [], text [], numeric [], text []
) FROM PUBLIC;
REVOKE ALL ON FUNCTION token_ledger_keep_leases(text, integer [], text [], numeric [], interval) FROM PUBLIC;
REVOKE ALL ON FUNCTION token_ledger_settle(text, numeric, text, text) FROM PUBLIC;
REVOKE ALL ON FUNCTION token_ledger_release(text) FROM PUBLIC;
REVOKE ALL ON FUNCTION token_ledger_erase_budgets(text, text) FROM PUBLIC;
REVOKE ALL ON FUNCTION token_ledger_matching_budgets(jsonb) FROM PUBLIC;

COMMENT ON FUNCTION token_ledger_budget_bucket(text, text, timestamptz) IS
'Start of the row in token_ledger_budget_buckets that a call at this time is added to';
COMMENT ON FUNCTION token_ledger_budget_window(text, integer, text, timestamptz) IS
'Start and end of a budget''s period at a time; a period without end ends at NULL';
COMMENT ON FUNCTION token_ledger_budget_sums(integer, text, timestamptz, timestamptz) IS
'What was spent and reserved in one account and period, US dollars';
COMMENT ON FUNCTION token_ledger_budget_room(integer [], text [], numeric, timestamptz) IS
'Whether accounts of budgets have room for a call; the reason is empty where they have';
COMMENT ON FUNCTION token_ledger_matching_budgets(jsonb) IS
'The blocking budgets that match a call''s dimensions, and the account of each';
COMMENT ON FUNCTION token_ledger_reserve(
    text, jsonb, numeric, boolean, text, interval, boolean, text, timestamptz, boolean
) IS
'Reserves money for a call in every budget that matches it, or in none; returns the budgets, or those that refuse. A NULL amount is a call without a price';
COMMENT ON FUNCTION token_ledger_charge_budgets(
    integer [], text [], bigint [], numeric [], numeric [], numeric [], bigint [], bigint [], bigint [],
    text, integer [], text [], numeric [], text []
) IS 'Adds committed calls to their budgets and frees their reservations';
COMMENT ON FUNCTION token_ledger_keep_leases(text, integer [], text [], numeric [], interval) IS
'Extends the leases of a process and gives back what it does not need';
COMMENT ON FUNCTION token_ledger_settle(text, numeric, text, text) IS
'Says what the call of a reservation cost, and which call it is; false if there is no such reservation';
COMMENT ON FUNCTION token_ledger_release(text) IS
'Frees all that a process or a reservation has reserved; returns the largest amount, NULL if there was none';
COMMENT ON FUNCTION token_ledger_note_budget_change() IS
'Trigger: records each change of a budget, and drops sums that a change made invalid';
COMMENT ON FUNCTION token_ledger_check_budget() IS 'Trigger: refuses unknown dimensions and time zones';
COMMENT ON FUNCTION token_ledger_rename_in_filters(jsonb, text, text) IS
'A budget''s filters with an erased person''s pseudonym instead of the id';
COMMENT ON FUNCTION token_ledger_erase_budgets(text, text) IS
'Replaces the id of an erased person in budgets and their sums; returns the number of changed rows';
