-- What calls did besides costing money: errors, latency, kinds of tokens, the cache, by any dimensions.
--
-- The braces are those of queries.sql. Percentiles have no roll-ups, so most of these read every call.

-- name: errors
-- Calls that failed.
SELECT
    {labels} {level} AS level,
    {failures},
    {states}
FROM {calls} {where}
{grouping}

-- name: latency
-- Milliseconds until the end of a call, or until the first token of a stream.
SELECT
    {labels} {level} AS level,
    count(*) AS calls,
    count({milliseconds}) AS measured,
    avg({milliseconds}) AS average,
    percentile_cont(ARRAY[0.5, 0.9, 0.95, 0.99]) WITHIN GROUP (ORDER BY {milliseconds}) AS percentiles,
    {states}
FROM {calls} {where}
{grouping}

-- name: tokens
-- Tokens by kind. Input includes cached and written tokens, output includes reasoning.
SELECT
    {labels} {level} AS level,
    count(*) AS calls,
    COALESCE(sum(input_tokens), 0)::bigint AS input_tokens,
    COALESCE(sum(cached_tokens), 0)::bigint AS cached_tokens,
    COALESCE(sum(cache_write_tokens), 0)::bigint AS cache_write_tokens,
    COALESCE(sum(output_tokens), 0)::bigint AS output_tokens,
    COALESCE(sum(reasoning_tokens), 0)::bigint AS reasoning_tokens,
    COALESCE(sum(audio_input_tokens), 0)::bigint + COALESCE(sum(audio_output_tokens), 0)::bigint
        AS audio_tokens,
    {states}
FROM {calls} {where}
{grouping}

-- name: cache
-- How much of the input came from a cache.
SELECT
    {labels} {level} AS level,
    count(*) AS calls,
    COALESCE(sum(input_tokens), 0)::bigint AS input_tokens,
    COALESCE(sum(cached_tokens), 0)::bigint AS cached_tokens,
    {states}
FROM {calls} {where}
{grouping}

-- name: grouping
-- The total comes first: percentiles of groups cannot be summed, so it is a group of its own.
GROUP BY GROUPING SETS (({groups}), ())
{having}
ORDER BY {level} DESC, {order}, {groups}
LIMIT %(limit)s
