-- Settings of connections.

-- name: cache_plans
-- Prepared statements are planned once. Without this, Postgres would plan some of them again for every
-- period, which takes as long as the answer.
SET plan_cache_mode = force_generic_plan
