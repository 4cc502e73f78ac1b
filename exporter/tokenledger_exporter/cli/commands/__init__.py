"""One module per command: arguments, options and printing."""
