"""Tests of `lfdn_video/gate`."""
