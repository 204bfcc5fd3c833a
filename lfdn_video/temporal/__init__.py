"""What neighbouring frames tell about rain that one frame cannot. Start at `stage.py`."""
