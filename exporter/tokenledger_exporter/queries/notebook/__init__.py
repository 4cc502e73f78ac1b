"""What results of queries do in a notebook: show as a table, become a data frame, draw a plot."""

from tokenledger_exporter.queries.notebook.flat import Record, flat_record, group_record, states_of
from tokenledger_exporter.queries.notebook.result import NotebookResult

__all__ = ["NotebookResult", "Record", "flat_record", "group_record", "states_of"]
