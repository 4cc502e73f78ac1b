"""The tools: costs, single calls, prices."""
