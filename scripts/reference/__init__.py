"""Writes the parts of the reference pages that come from the code: `python -m reference FOLDER`."""
