"""A short fuzzing run; `python -m tests.fuzz` does a long one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

COUNT = 96


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_corrupt_files_are_restored_or_refused(tmp_path: Path) -> None:
    """No crash, no hang, no traceback, no files left: the program exits with 1 otherwise."""
    report = tmp_path / "report.json"
    words = [sys.executable, "-m", "tests.fuzz", "--seed", "7", "--count", str(COUNT)]
    done = subprocess.run(
        [*words, "--json", str(report)],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    outcomes = json.loads(report.read_text())["outcomes"]
    assert sum(outcomes.values()) == COUNT
    assert outcomes["restored"] > COUNT // 3
    assert outcomes["refused"] > COUNT // 10
