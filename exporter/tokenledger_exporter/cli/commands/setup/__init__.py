"""Commands that set up this machine: settings and the completion of shells."""
