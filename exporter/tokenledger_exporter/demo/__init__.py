"""The demo: a local fake of the model providers, and the run that shows the ledger.

`provider` is shared by the demo and the tests. Nothing here is imported by the ledger itself.
"""
