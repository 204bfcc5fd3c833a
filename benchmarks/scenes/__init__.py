"""Scenes drawn by script for `benchmarks.temporal_scenes`: the same pictures for the same seed."""
