"""CSV files of a run: rows are appended, dropped on resuming, and read."""

from pathlib import Path

import pytest

from lfdn.training.figures import StepsRow, append_row, drop_rows_after, read_columns


def write(path: Path, *steps: int) -> Path:
    for step in steps:
        append_row(path, StepsRow(step, seconds=step / 2, learning_rate=1e-3, loss=0.5,
                                  gradient_norm=0.1))  # fmt: skip
    return path


def test_columns_are_read_as_numbers(tmp_path: Path) -> None:
    columns = read_columns(write(tmp_path / "steps.csv", 10, 20))
    assert columns["step"] == [10, 20]
    assert columns["seconds"] == [5, 10]
    assert read_columns(tmp_path / "none.csv") == {}


@pytest.mark.parametrize("torn", ["3", "30,15.0,0.00", "30,15.0,0.001,0.5,0.1"])
def test_row_that_was_cut_short_is_dropped(tmp_path: Path, torn: str) -> None:
    """A killed process leaves one; appended to, it would be a wrong row."""
    path = write(tmp_path / "steps.csv", 10, 20)
    with path.open("a") as file:
        file.write(torn)
    drop_rows_after(path, 100)
    assert read_columns(write(path, 30))["step"] == [10, 20, 30]
    assert path.read_bytes().count(b"\r") == 0


def test_new_run_has_no_rows_of_an_old_one(tmp_path: Path) -> None:
    drop_rows_after(path := write(tmp_path / "steps.csv", 10), 0)
    assert not path.exists()
