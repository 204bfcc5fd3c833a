"""Tests of `lfdn`."""
