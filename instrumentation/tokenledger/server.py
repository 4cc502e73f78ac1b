"""The exporter's OTLP service under this package's name: `python -m tokenledger.server`.

This module and `queries` may import the exporter; `import tokenledger` loads neither.
"""

from tokenledger_exporter.cli.commands.serve import command as main

__all__ = ["main"]

if __name__ == "__main__":
    main()
