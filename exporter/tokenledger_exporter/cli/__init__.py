"""The `tokenledger` command.

Data goes to standard output; notes, warnings and errors go to standard error. Exit codes: 0 ok,
1 findings, 2 invalid arguments, 3 database unreachable.
"""

from tokenledger_exporter.cli.main import main, start

__all__ = ["main", "start"]
