"""`lfdn degrade`: folders of pairs as training draws them."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from lfdn.cli import main
from lfdn.datasets import layouts
from lfdn.datasets.samples import Sample
from tests.support import datasets


def degrade(*words: str | Path) -> Result:
    return CliRunner().invoke(main, ["degrade", *(str(word) for word in words)])


def read(folder: Path) -> list[Sample]:
    return layouts.read_sets([f"pairs={folder}"])


@pytest.mark.parametrize("kind", ["rain", "blur"])
def test_written_pairs_load_as_a_layout(tmp_path: Path, kind: str) -> None:
    data, target = datasets.make_clean(tmp_path / "clean", 6), tmp_path / "pairs"
    result = degrade(kind, "--data", f"clean={data}", "-o", target)
    assert result.exit_code == 0, result.output
    samples = read(target)
    assert [sample.name for sample in samples] == [f"{i:03d}" for i in range(6)]
    changed = [not np.array_equal(s.clean.read(), s.degraded.read()) for s in samples if s.degraded]
    assert sum(changed) >= 3  # some stay clean, on purpose
    settings = json.loads((target / "degrade.json").read_text())
    assert (settings["kind"], len(settings["pictures"])) == (kind, 6)


def test_same_seed_gives_the_same_pairs(tmp_path: Path) -> None:
    data = datasets.make_clean(tmp_path / "clean", 2)
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        words = ("--data", f"clean={data}", "-o", tmp_path / name, "--seed", str(seed))
        assert degrade("rain", *words).exit_code == 0
    one, same, other = (
        [s.degraded.read() for s in read(tmp_path / n) if s.degraded] for n in "abc"
    )
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


def test_frames_of_a_sequence_are_degraded(tmp_path: Path) -> None:
    data = datasets.make_clean(tmp_path / "in" / "walk").parent
    assert degrade("blur", "--data", f"sequences={data}", "-o", tmp_path / "out").exit_code == 0
    assert [sample.name for sample in read(tmp_path / "out")] == ["walk_000", "walk_001"]


def test_existing_folder_is_not_overwritten(tmp_path: Path) -> None:
    data = datasets.make_clean(tmp_path / "clean", 1)
    result = degrade("rain", "--data", f"clean={data}", "-o", data)
    assert result.exit_code == 1
    assert f"{data}: exists; name a new folder" in result.stderr


def test_two_images_of_one_name_are_refused(tmp_path: Path) -> None:
    sets = [datasets.make_clean(tmp_path / name, 1) for name in ("a", "b")]
    words = [word for folder in sets for word in ("--data", f"clean={folder}")]
    result = degrade("rain", *words, "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert "two images have this name" in result.stderr
