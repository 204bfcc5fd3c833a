"""Tests of `lfdn_video/temporal`."""
