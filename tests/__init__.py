"""Tests, in the rooms of the code they test; shared helpers are in `tests.support`."""
