-- relations: tables and views of the ledger, partitions left out
SELECT relation.relname, relation.relkind = 'v' AS is_view, obj_description(relation.oid, 'pg_class')
FROM pg_class AS relation
WHERE relation.relnamespace = current_schema()::regnamespace
    AND relation.relkind IN ('r', 'p', 'v')
    AND NOT relation.relispartition
    AND relation.relname LIKE 'token\_ledger%'
    -- Bookkeeping of `db migrate`, of no use to a reader.
    AND relation.relname <> 'token_ledger_migrations'
ORDER BY 1;

-- columns: of one relation
SELECT
    attribute.attname,
    format_type(attribute.atttypid, attribute.atttypmod),
    attribute.attnotnull,
    col_description(attribute.attrelid, attribute.attnum)
FROM pg_attribute AS attribute
WHERE attribute.attrelid = %s::regclass
    AND attribute.attnum > 0
    AND NOT attribute.attisdropped
ORDER BY attribute.attnum;
