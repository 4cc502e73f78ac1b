-- Logins of compose.yaml, in the roles that `tokenledger db roles` created. It can be run repeatedly.
-- psql variables: serve_password, keep_password, dashboard_password, grafana_password.
SELECT format('CREATE ROLE %I LOGIN IN ROLE %I', login, member_of)
FROM (
    VALUES
        ('tokenledger_serve', 'tokenledger_writer'),
        ('tokenledger_keep', 'tokenledger_keeper'),
        ('tokenledger_dashboard', 'tokenledger_reader'),
        ('tokenledger_grafana', 'tokenledger_reader')
) AS wanted (login, member_of)
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = login)
\gexec
ALTER ROLE tokenledger_serve PASSWORD :'serve_password';
ALTER ROLE tokenledger_keep PASSWORD :'keep_password';
ALTER ROLE tokenledger_dashboard PASSWORD :'dashboard_password';
ALTER ROLE tokenledger_grafana PASSWORD :'grafana_password';
-- The dashboards are for the operator, so they show every organization.
INSERT INTO token_ledger_reader_organizations (role, organization_id, sees_all)
VALUES ('tokenledger_dashboard', '', true), ('tokenledger_grafana', '', true)
ON CONFLICT DO NOTHING;
