"""Tests of `lfdn_video/stream`."""
