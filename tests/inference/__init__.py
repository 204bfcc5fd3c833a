"""Tests of `lfdn_video/inference`."""
