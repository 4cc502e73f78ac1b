-- An overload of exactly the types that a call has is a better match than what Postgres has. So there
-- is one for every pair of types without an operator or function of Postgres' own. Each notes who ran it.
DO $do$
DECLARE
    trap record;
BEGIN
    FOR trap IN
        WITH types AS (
            SELECT unnest(
                '{text,name,unknown,int4,int8,numeric,float8,bool,date,timestamp,timestamptz,interval,'
                'uuid,jsonb,bytea,oid,regclass,text[],uuid[]}'::text[]
            ) AS name
        )
        SELECT 'operator' AS kind, operators.name, a.name AS left_type, b.name AS right_type
        FROM
            unnest('{=,<>,<,>,<=,>=,||,+,-,*,/,->,->>}'::text[]) AS operators (name),
            types AS a,
            types AS b
        WHERE
            a.name <> 'unknown' AND b.name <> 'unknown'
            AND NOT EXISTS (
                SELECT FROM pg_operator
                WHERE
                    oprname = operators.name AND oprleft = a.name::regtype
                    AND oprright = b.name::regtype
            )
        UNION ALL
        SELECT 'function', functions.name, a.name, b.name
        FROM unnest(
            '{date_trunc,hashtextextended,to_char,pg_has_role,has_table_privilege,round,concat,length,'
            'to_jsonb,sha256,unnest,format,quote_ident,to_regclass,now,max,count,sum,array_agg}'::text[]
        ) AS functions (name), types AS a, (TABLE types UNION ALL SELECT NULL) AS b
        WHERE
            a.name <> 'unknown' AND b.name IS DISTINCT FROM 'unknown'
            AND NOT EXISTS (
                SELECT FROM pg_proc
                WHERE
                    proname = functions.name
                    AND proargtypes = concat_ws(' ', a.name::regtype::oid, b.name::regtype::oid)::oidvector
            )
    LOOP
        EXECUTE format(
            'CREATE OR REPLACE FUNCTION public.%I(%s) RETURNS %s LANGUAGE plpgsql AS $body$ BEGIN '
            'INSERT INTO public.ran_by VALUES (current_user, %L); RETURN NULL; END $body$',
            CASE trap.kind WHEN 'operator' THEN 'trap' ELSE trap.name END,
            concat_ws(', ', trap.left_type, trap.right_type),
            CASE WHEN trap.name IN ('date_trunc', 'now') THEN 'timestamptz'
                WHEN trap.kind = 'function' OR trap.name ~ '^[|+*/-]' THEN 'text' ELSE 'boolean' END,
            concat_ws(' ', trap.name, trap.left_type, trap.right_type)
        );
        IF trap.kind = 'operator' THEN
            -- One function for an operator of its own name: each says which it is.
            EXECUTE format(
                'ALTER FUNCTION public.trap(%s, %s) RENAME TO %I',
                trap.left_type, trap.right_type, 'trap ' || trap.name
            );
            EXECUTE format(
                'CREATE OPERATOR public.%s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = public.%I)',
                trap.name, trap.left_type, trap.right_type, 'trap ' || trap.name
            );
        END IF;
    END LOOP;
END
$do$;
CREATE FUNCTION public.keep_first(text[], text) RETURNS text[] LANGUAGE plpgsql AS $$
BEGIN INSERT INTO public.ran_by VALUES (current_user, 'array_agg'); RETURN $1; END $$;
DROP FUNCTION public.array_agg(text);
CREATE AGGREGATE public.array_agg(text) (sfunc = public.keep_first, stype = text[]);
