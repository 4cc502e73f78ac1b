"""Attribution of calls, and how it propagates with the running code."""
