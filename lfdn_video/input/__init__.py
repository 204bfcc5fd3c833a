"""Everything that reads: videos and images as `Frame`s. Start at `open.py`."""
