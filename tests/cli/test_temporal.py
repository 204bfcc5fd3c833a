"""`derain` as users type it, with the packaged network: what neighbouring frames do by default."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from lfdn_video.cli.commands import main
from lfdn_video.input.open import open_reader
from lfdn_video.media import Frame
from tests.support.rain import COUNT, Luma, error, noisy, rain, scene, to_frames, write

SMOOTH: Any = cv2.GaussianBlur(scene(), (0, 0), 3)
DRY: list[Luma] = noisy([SMOOTH] * COUNT, 1)
RAINY: list[Luma] = rain(DRY, count=60, gain=50, streak_px=(10, 8))
"""So slanted that the network alone takes none of it out."""


def run(source: Path, target: Path, *words: str, task: str = "derain") -> dict[str, Any]:
    """Run the command with `--json`; return the event `done`."""
    base = [task, str(source), "-o", str(target), "--codec", "ffv1", "--overwrite", *words]
    result = CliRunner().invoke(main, [*base, "--json"])
    assert result.exit_code == 0, result.output
    done: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return done


def last_line(source: Path, target: Path, *words: str) -> str:
    """Run the command; return the last line that it prints."""
    base = ["derain", str(source), "-o", str(target), *words]
    result = CliRunner().invoke(main, base)
    assert result.exit_code == 0, result.output
    return result.stderr.splitlines()[-1]


def read(path: Path) -> list[Frame]:
    with open_reader(path) as reader:
        return list(reader.frames())


def test_sparse_rain_that_the_network_leaves_is_removed_by_default(tmp_path: Path) -> None:
    clip, off, on = (
        write(tmp_path / "a.mkv", to_frames(RAINY)),
        tmp_path / "off.mkv",
        tmp_path / "on.mkv",
    )
    assert run(clip, off, "--temporal", "off")["temporal"] is None
    done = run(clip, on)
    assert error(read(on), DRY) < error(read(off), DRY) / 3
    assert done["temporal"]["frames"] >= COUNT - 2
    assert done["temporal"]["frames"] + sum(done["temporal"]["left"].values()) == COUNT
    assert done["temporal"]["mean_change"] > 0.1
    assert done["temporal_off"] is None
    assert "temporal" in done["stages"]


def test_dry_frames_lose_nothing_and_the_summary_says_why(tmp_path: Path) -> None:
    clip, off, on = (
        write(tmp_path / "a.mkv", to_frames(DRY)),
        tmp_path / "off.mkv",
        tmp_path / "on.mkv",
    )
    run(clip, off, "--temporal", "off")
    did = run(clip, on)["temporal"]
    assert did.pop("given_back") > COUNT / 2
    assert did == {"frames": 0, "mean_change": 0.0, "left": {"nothing brighter": COUNT}}
    assert error(read(on), DRY) < error(read(off), DRY)
    line = last_line(clip, tmp_path / "again.mkv")
    assert f"neighbouring frames: no rain taken out (nothing brighter: {COUNT})" in line


@pytest.mark.parametrize(
    ("words", "task", "reason"),
    [(["--temporal", "off"], "derain", "not asked for"), ([], "deblur", "not for this task")],
)
def test_a_run_without_neighbouring_frames_says_why(
    tmp_path: Path, words: list[str], task: str, reason: str
) -> None:
    clip = write(tmp_path / "a.mkv", to_frames(RAINY[:2]))
    done = run(clip, tmp_path / "b.mkv", *words, task=task)
    assert (done["temporal"], done["temporal_off"]) == (None, reason)
    assert "temporal" not in done["stages"]


@pytest.mark.parametrize(
    ("names", "reason"),
    [(["1.png"], "a single image"), (["1.png", "3.png"], "images not numbered in a row")],
)
def test_images_without_neighbours_say_why(tmp_path: Path, names: list[str], reason: str) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    for name, luma in zip(names, RAINY, strict=False):
        cv2.imwrite(str(folder / name), luma.round().clip(0, 255).astype(np.uint8))
    done = run(folder, tmp_path / "after")
    assert (done["temporal"], done["temporal_off"]) == (None, reason)
    line = last_line(folder, tmp_path / "again")
    said = "neighbouring frames: not used, images not numbered in a row"
    assert line.endswith(said) == (len(names) > 1)
