-- What was deleted, erased or let go, by whom; and the tombstones of erased people.
-- Release 00.01.00, step 11, safe before the new code runs.

CREATE TABLE token_ledger_acts (
    act_id uuid NOT NULL DEFAULT gen_random_uuid(),
    recorded_at timestamptz NOT NULL DEFAULT now(),
    changed_by text NOT NULL DEFAULT CURRENT_USER,
    act text NOT NULL,
    dimensions jsonb NOT NULL DEFAULT '{}',
    time_from timestamptz,
    time_to timestamptz,
    counts jsonb NOT NULL DEFAULT '{}',
    PRIMARY KEY (act_id)
);
COMMENT ON TABLE token_ledger_acts IS 'Every deletion, erasure and change of retention; never whose data it was';
COMMENT ON COLUMN token_ledger_acts.act_id IS 'Identity of the act';
COMMENT ON COLUMN token_ledger_acts.recorded_at IS 'When';
COMMENT ON COLUMN token_ledger_acts.changed_by IS 'Database user who did it';
COMMENT ON COLUMN token_ledger_acts.act IS 'purge, erase, retention set, retention drop or retention archive';
COMMENT ON COLUMN token_ledger_acts.dimensions IS 'What it was narrowed to; the value is empty where it may name a person';
COMMENT ON COLUMN token_ledger_acts.time_from IS 'Start of the stretch, included; NULL is from the beginning';
COMMENT ON COLUMN token_ledger_acts.time_to IS 'End of the stretch, not included; NULL is without end';
COMMENT ON COLUMN token_ledger_acts.counts IS 'Rows changed by table, and cost_usd of the rows deleted, US dollars';

-- One row a person. The id is not here: a hash of it, salted, recognises it when it comes again.
CREATE TABLE token_ledger_erasures (
    id_hash bytea NOT NULL,
    salt bytea NOT NULL,
    pseudonym text NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (id_hash)
);
COMMENT ON TABLE token_ledger_erasures IS 'People whose id was replaced, so that what is still on its way is replaced too';
COMMENT ON COLUMN token_ledger_erasures.id_hash IS 'SHA-256 of salt and id';
COMMENT ON COLUMN token_ledger_erasures.salt IS 'Random, of this person alone';
COMMENT ON COLUMN token_ledger_erasures.pseudonym IS 'What stands for the id; drawn at random, so nothing leads back';
COMMENT ON COLUMN token_ledger_erasures.recorded_at IS 'When it was erased';

-- Puts one text in another's place among the values of a flat document.
CREATE FUNCTION token_ledger_replace_value(document jsonb, old_value text, new_value text)
RETURNS jsonb
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE
        WHEN jsonb_typeof(document) = 'object' THEN COALESCE(
            (
                SELECT jsonb_object_agg(
                    key, CASE WHEN value = to_jsonb(old_value) THEN to_jsonb(new_value) ELSE value END
                )
                FROM jsonb_each(document)
            ),
            document
        )
        ELSE document
    END
$$;
COMMENT ON FUNCTION token_ledger_replace_value(jsonb, text, text) IS
    'The document with every value that equals one text replaced by another';

-- A document that a writer kept as text; text that is none is an empty one.
CREATE FUNCTION token_ledger_document(kept jsonb) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    IF jsonb_typeof(kept) = 'string' THEN
        kept := (kept #>> '{}')::jsonb;
    END IF;
    RETURN CASE WHEN jsonb_typeof(kept) = 'object' THEN kept ELSE '{}'::jsonb END;
EXCEPTION
    WHEN data_exception THEN
        RETURN '{}'::jsonb;
END
$$;
COMMENT ON FUNCTION token_ledger_document(jsonb) IS
    'The metadata of a row set aside as an object, whether it was kept as one or as text';
