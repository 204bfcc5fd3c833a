"""Batches with workers that have no network."""

from pathlib import Path

import pytest

from lfdn_video.batch import workers


@pytest.fixture
def fake_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "MODULE", "tests.support.fake_worker")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
