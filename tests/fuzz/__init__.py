"""Thousands of corrupt files: `python -m tests.fuzz --help`."""
