"""Writes the generated parts of the reference pages: `python -m scripts.reference FOLDER`."""
