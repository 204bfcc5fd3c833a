"""What makes every published number; `suite.py` is the one about speed."""
