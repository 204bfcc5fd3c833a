"""Tests: one file a module, and the helpers they share (`tests.pictures`, `tests.clips`, ...)."""
