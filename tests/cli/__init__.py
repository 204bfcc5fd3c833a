"""Tests of `lfdn_video/cli`."""
