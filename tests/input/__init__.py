"""Tests of `lfdn_video/input`."""
