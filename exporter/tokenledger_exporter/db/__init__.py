"""Connections, statements, migrations, roles, dimensions and the audit log."""
