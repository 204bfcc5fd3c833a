"""The commands behind every published figure; `suite.py` measures speed."""
