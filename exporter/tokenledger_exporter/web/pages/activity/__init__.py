"""Pages of what was done: runs, single calls, users and tenants."""
