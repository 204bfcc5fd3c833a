"""The figures of `compare`: right where the answer is known."""

from math import inf
from pathlib import Path

import numpy as np
import pytest

from lfdn_video.errors import OptionError
from lfdn_video.review.compare import Comparison, compare
from tests.support import drawn
from tests.support.clips import Clip


def moved(count: int = 5) -> list[drawn.Grey]:
    """A texture that moves by two px per frame: each frame is new, and steady."""
    wide = drawn.texture(96, 160)
    return [wide[:, 2 * number : 2 * number + 128] for number in range(count)]


def means(found: Comparison) -> dict[str, float]:
    return {name: figure.mean for name, figure in found.figures.items()}


def test_static_clip_does_not_flicker(tmp_path: Path) -> None:
    clip = drawn.write(tmp_path / "a.mkv", drawn.still())
    assert means(compare(clip, clip))["flicker_after"] == pytest.approx(0, abs=1e-6)


def test_injected_flicker_scores_worse_and_in_proportion(tmp_path: Path) -> None:
    frames = moved()
    steady = drawn.write(tmp_path / "a.mkv", frames)
    scores = []
    for by in (4, 8):
        clip = drawn.write(tmp_path / f"{by}.mkv", drawn.flickering(frames, by))
        scores.append(means(compare(steady, clip))["flicker_after"])
    still = means(compare(steady, steady))["flicker_after"]
    assert still < 1
    # MATLAB's luma spans 219 codes.
    assert scores == pytest.approx([4 * 219 / 255, 8 * 219 / 255], abs=0.6)


def test_motion_is_not_flicker(tmp_path: Path) -> None:
    frames = moved()
    by_pixel = np.abs(np.diff([frame.astype(float) for frame in frames], axis=0)).mean()
    clip = drawn.write(tmp_path / "a.mkv", frames)
    assert means(compare(clip, clip))["flicker_before"] < by_pixel / 5


def test_identity_changes_nothing(tmp_path: Path) -> None:
    clip = Clip(pts=range(4)).make(tmp_path / "a.mkv")
    found = compare(clip, clip)
    assert (found.frames, found.identical_frames) == (4, 4)
    values = means(found)
    assert values["change"] == 0
    assert [values[name] for name in ("psnr_y", "psnr_rgb", "xpsnr_y")] == [inf, inf, inf]
    assert [values[name] for name in ("ssim_y", "ssim_rgb")] == pytest.approx([1, 1])


def test_known_difference(tmp_path: Path) -> None:
    frames = drawn.still(2)
    one = drawn.write(tmp_path / "a.mkv", frames)
    other = drawn.write(tmp_path / "b.mkv", [(frame + 5).astype(np.uint8) for frame in frames])
    values = means(compare(one, other))
    assert values["change"] == pytest.approx(5)
    assert values["psnr_rgb"] == pytest.approx(20 * np.log10(255 / 5))
    assert values["psnr_y"] == pytest.approx(20 * np.log10(255 / (5 * 219 / 255)), abs=0.01)
    assert "xpsnr_y" not in values  # FFmpeg's filter takes YUV alone


def test_mean_is_over_frames_that_differ(tmp_path: Path) -> None:
    frames = drawn.still(4)
    changed = [*frames[:3], (frames[3] + 5).astype(np.uint8)]
    one = drawn.write(tmp_path / "a.mkv", frames)
    figure = compare(one, drawn.write(tmp_path / "b.mkv", changed)).figures["psnr_rgb"]
    assert figure.mean == figure.least == pytest.approx(20 * np.log10(255 / 5))
    assert (figure.most, figure.frames, figure.infinite) == (inf, 4, 3)


def test_xpsnr_falls_with_noise(tmp_path: Path) -> None:
    clean = Clip(codec="libx264", options={"crf": "1"}, pts=range(6)).make(tmp_path / "a.mkv")
    coarse = Clip(codec="libx264", options={"crf": "40"}, pts=range(6)).make(tmp_path / "b.mkv")
    fine = Clip(codec="libx264", options={"crf": "10"}, pts=range(6)).make(tmp_path / "c.mkv")
    one, other = (means(compare(clean, each))["xpsnr_y"] for each in (coarse, fine))
    assert one + 3 < other < inf


def test_every_leaves_out_the_costly_measures_alone(tmp_path: Path) -> None:
    clip = drawn.write(tmp_path / "a.mkv", drawn.still(7))
    found = compare(clip, clip, every=3)
    counts = {name: figure.frames for name, figure in found.figures.items()}
    assert counts["change"] == 7
    assert counts["psnr_y"] == counts["ssim_rgb"] == 3
    assert counts["flicker_after"] == 2  # the first frame has none before it
    with pytest.raises(OptionError, match="every"):
        compare(clip, clip, every=0)


def test_every_figure_has_a_protocol(tmp_path: Path) -> None:
    clip = Clip(pts=range(3)).make(tmp_path / "a.mkv")
    found = compare(clip, clip)
    assert {name.partition("_before")[0].partition("_after")[0] for name in found.figures} == set(
        found.protocol
    )
