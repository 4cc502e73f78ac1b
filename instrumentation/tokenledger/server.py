"""The OTLP service under the package's name, `python -m tokenledger.server`; the exporter has it.

Beside `queries` the one module that may import the exporter; `import tokenledger` loads neither.
"""

from tokenledger_exporter.cli.commands.serve import command as main

__all__ = ["main"]

if __name__ == "__main__":
    main()
