"""`python -m tokenledger_exporter`: the command, even where its script was removed."""

from tokenledger_exporter.cli import start

if __name__ == "__main__":
    start()
