"""docs/training_curves.png shows the results that are there."""

from pathlib import Path

import pytest
from PIL import Image

from benchmarks import curves


def test_picture_is_not_stale() -> None:
    """If it fails: python -m benchmarks.curves."""
    assert curves.read_digest(curves.PICTURE) == curves.compute_digest(curves.list_runs())


def test_every_curve_is_drawn() -> None:
    names = {path.name for path in curves.list_runs()}
    assert names >= {path.name for path in curves.RESULTS.glob("*_run_*.csv")}
    assert {"lite_derain.csv", "lite_deblur.csv"} <= names


def test_changed_results_make_it_stale(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    copy = tmp_path / "derain_run_x.csv"
    copy.write_text(curves.list_runs()[0].read_text())
    curves.draw([copy], target := tmp_path / "curves.png")
    with Image.open(target) as image:
        assert image.size == (1260, 234)
    assert curves.read_digest(target) == curves.compute_digest([copy])
    copy.write_text(copy.read_text().replace("500,", "501,", 1))
    assert curves.read_digest(target) != curves.compute_digest([copy])
    assert curves.read_digest(tmp_path / "none.png") == ""
