-- Who looked at which person's costs in the dashboard.

CREATE TABLE token_ledger_person_views (
    entry_id uuid NOT NULL DEFAULT gen_random_uuid(),
    viewed_at timestamptz NOT NULL DEFAULT now(),
    login text NOT NULL,
    viewer_kind text NOT NULL,
    viewer text NOT NULL,
    organization_id text NOT NULL,
    page text NOT NULL,
    dimension text NOT NULL,
    value text NOT NULL,
    PRIMARY KEY (entry_id),
    CONSTRAINT texts_are_short CHECK (
        length(viewer_kind) <= 32 AND length(viewer) <= 255 AND length(organization_id) <= 255
        AND length(page) <= 255 AND length(dimension) <= 32 AND length(value) <= 255
    )
);
COMMENT ON TABLE token_ledger_person_views IS 'Who looked at which person, session or call in the dashboard, for 400 days; only the owner reads it';
COMMENT ON COLUMN token_ledger_person_views.entry_id IS 'Identity of the entry';
COMMENT ON COLUMN token_ledger_person_views.viewed_at IS 'When it was shown; once per minute for the same viewer, page and value';
COMMENT ON COLUMN token_ledger_person_views.login IS 'Database user that the dashboard logged in as';
COMMENT ON COLUMN token_ledger_person_views.viewer_kind IS 'token, proxy user or this machine';
COMMENT ON COLUMN token_ledger_person_views.viewer IS 'The start of the token''s hash, or the user that the proxy named; empty for this machine';
COMMENT ON COLUMN token_ledger_person_views.organization_id IS 'The only organization whose calls the viewer could see; empty for every one';
COMMENT ON COLUMN token_ledger_person_views.page IS 'Path of the page or endpoint, with the names of its parameters instead of their values';
COMMENT ON COLUMN token_ledger_person_views.dimension IS 'user, session, trace or call';
COMMENT ON COLUMN token_ledger_person_views.value IS 'Which one; the pseudonym of a person who was erased';

CREATE INDEX token_ledger_person_views_by_viewer ON token_ledger_person_views (viewer_kind, viewer, viewed_at);
CREATE INDEX token_ledger_person_views_by_time ON token_ledger_person_views (viewed_at);

-- Row-level security without a policy: a grant on all tables shows the rows to the owner alone.
ALTER TABLE token_ledger_person_views ENABLE ROW LEVEL SECURITY;

-- As in 0001_calls: the bodies name the ledger's schema (HOME), and the search path holds none.
DO $migration$
DECLARE
    home text := pg_catalog.quote_ident(pg_catalog.current_schema()::text);
BEGIN
    EXECUTE pg_catalog.replace($create$
        CREATE FUNCTION HOME.token_ledger_pseudonym_of(name text) RETURNS text
        LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $body$
        BEGIN
            RETURN COALESCE(
                (
                    SELECT erasures.pseudonym
                    FROM HOME.token_ledger_erasures AS erasures
                    WHERE erasures.id_hash = HOME.token_ledger_erasure_hash(convert_to(name, 'UTF8'))
                ),
                name
            );
        END
        $body$
    $create$, 'HOME', home);

    EXECUTE pg_catalog.replace($create$
        -- The limit is per viewer, and a view beyond it is refused: otherwise views could be hidden
        -- behind many others.
        CREATE FUNCTION HOME.token_ledger_audit_view(
            kind text, viewer_name text, organization text, page_path text, dimension_name text,
            dimension_value text
        ) RETURNS void
        LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
        DECLARE
            moment timestamptz := clock_timestamp();
            who text := left(viewer_name, 255);
            what text := left(dimension_value, 255);
        BEGIN
            IF EXISTS (SELECT FROM HOME.token_ledger_erasures) THEN
                who := HOME.token_ledger_pseudonym_of(who);
                what := HOME.token_ledger_pseudonym_of(what);
            END IF;
            IF EXISTS (
                SELECT
                FROM HOME.token_ledger_person_views AS earlier
                WHERE
                    earlier.viewer_kind = kind AND earlier.viewer = who
                    AND earlier.viewed_at >= date_trunc('minute', moment)
                    AND earlier.page = left(page_path, 255)
                    AND earlier.dimension = dimension_name AND earlier.value = what
            ) THEN
                RETURN;
            END IF;
            IF 5000 <= (
                SELECT count(*)
                FROM HOME.token_ledger_person_views AS earlier
                WHERE
                    earlier.viewer_kind = kind AND earlier.viewer = who
                    AND earlier.viewed_at >= moment - interval '1 day'
            ) THEN
                RAISE EXCEPTION 'a viewer has looked at 5,000 persons, sessions and calls within a day'
                    USING HINT = 'wait, or look at fewer';
            END IF;
            DELETE FROM HOME.token_ledger_person_views
            WHERE viewed_at < moment - interval '400 days';
            INSERT INTO HOME.token_ledger_person_views (
                viewed_at, login, viewer_kind, viewer, organization_id, page, dimension, value
            )
            VALUES (
                moment, session_user, kind, who, left(organization, 255), left(page_path, 255),
                dimension_name, what
            );
        END
        $body$
    $create$, 'HOME', home);

    EXECUTE pg_catalog.replace($create$
        CREATE FUNCTION HOME.token_ledger_erase_views(id text, pseudonym text) RETURNS bigint
        LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
        DECLARE
            changed bigint;
        BEGIN
            -- Another name than the tombstone's would be a way to change the trail.
            IF HOME.token_ledger_pseudonym_of(id) IS DISTINCT FROM pseudonym THEN
                RAISE EXCEPTION 'permission denied: this person was not erased'
                    USING ERRCODE = 'insufficient_privilege', HINT = 'run tokenledger erase';
            END IF;
            UPDATE HOME.token_ledger_person_views AS views
            SET
                viewer = CASE WHEN views.viewer = id THEN pseudonym ELSE views.viewer END,
                value = CASE WHEN views.value = id THEN pseudonym ELSE views.value END
            WHERE views.viewer = id OR views.value = id;
            GET DIAGNOSTICS changed = ROW_COUNT;
            RETURN changed;
        END
        $body$
    $create$, 'HOME', home);
END
$migration$;

REVOKE ALL ON FUNCTION token_ledger_pseudonym_of(text) FROM PUBLIC;
REVOKE ALL ON FUNCTION token_ledger_audit_view(text, text, text, text, text, text) FROM PUBLIC;
REVOKE ALL ON FUNCTION token_ledger_erase_views(text, text) FROM PUBLIC;

COMMENT ON FUNCTION token_ledger_pseudonym_of(text) IS 'The pseudonym of a person who was erased; another name unchanged';
COMMENT ON FUNCTION token_ledger_audit_view(text, text, text, text, text, text) IS
'Adds an entry to token_ledger_person_views; the database fills in the login and the time';
COMMENT ON FUNCTION token_ledger_erase_views(text, text) IS
'Replaces the name of a person who was erased in token_ledger_person_views; returns the number of entries';
