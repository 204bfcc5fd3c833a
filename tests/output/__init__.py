"""Tests of `lfdn_video/output`."""
