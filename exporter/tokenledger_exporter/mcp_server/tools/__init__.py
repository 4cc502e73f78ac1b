"""The tools: costs, forecasts, single calls, prices."""
