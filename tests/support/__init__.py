"""Helpers that tests share: generated clips, fakes, servers and programs."""
