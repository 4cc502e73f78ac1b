"""The `tokenledger` command.

Data goes to standard output, everything said about it to standard error. Exit codes: 0 ok,
1 findings, 2 usage, 3 the database cannot be reached.
"""

from tokenledger_exporter.cli.main import main, start

__all__ = ["main", "start"]
