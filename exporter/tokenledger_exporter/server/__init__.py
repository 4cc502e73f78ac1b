"""`tokenledger serve`: an OTLP endpoint that answers a request once its rows are committed."""
