"""Degradation: rain and blur from frame to frame, and `lfdn-video degrade`."""

import json
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import Tensor

from lfdn.datasets.images import ImageSource, to_tensor
from lfdn.degrade import FallingRain, ShakenCamera
from lfdn.degrade.frames import RainLayer
from lfdn_video.cli import main
from lfdn_video.cli.doctor import CLIP_TIMES, make_clip
from tests.support.datasets import draw_image

HEIGHT, WIDTH = 96, 160
GREY = np.full((HEIGHT, WIDTH, 3), 0.4, np.float32)


def moving(step_px: int, count: int = 3) -> list[Tensor]:
    """Frames in which everything moves to the right by `step_px`."""
    wide = draw_image(1, HEIGHT, WIDTH + 64)
    return [to_tensor(wide[:, 64 - i * step_px : 64 - i * step_px + WIDTH]) for i in range(count)]


def difference(one: Tensor, other: Tensor) -> float:
    return (one - other)[..., 16:-16, 16:-16].abs().mean().item()


def test_drop_falls_from_frame_to_frame() -> None:
    """A drop of the far layer is found again in the next frame, as far down as it fell."""
    layer = RainLayer(400, 20, 0.5, 1, 1, 0.5)
    rain, drop = FallingRain(360, 240, seed=1), np.array([[0.5, 0.3, 0.5, 0.5, 1.0]])
    rows = [
        np.average(np.arange(360), weights=rain._draw_streaks(layer, drop, n).sum(1))
        for n in (0, 1)
    ]
    assert rows[1] - rows[0] == pytest.approx(20, abs=0.5)


def test_rain_adds_light() -> None:
    change = FallingRain(HEIGHT, WIDTH, seed=1).fall(GREY, 0) - GREY
    assert change.max() > 0.05
    assert change.min() > -0.01


def test_rain_depends_on_its_seed() -> None:
    one, same, other = (FallingRain(HEIGHT, WIDTH, seed=seed).fall(GREY, 3) for seed in (1, 1, 2))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


@pytest.mark.parametrize("density", [0, 3])
def test_density_scales_the_amount_of_rain(density: int) -> None:
    usual, changed = (
        FallingRain(HEIGHT, WIDTH, seed=1, density=d).fall(GREY, 0) - GREY for d in (1, density)
    )
    assert changed.mean() == pytest.approx(density * usual.mean(), rel=0.35, abs=1e-6)


def test_still_scene_without_shake_stays_sharp() -> None:
    camera = ShakenCamera(seed=1, shake=0)
    frame = moving(0)[0]
    for _ in range(2):
        torch.testing.assert_close(camera.expose(frame), frame, atol=3e-3, rtol=0)


def test_moving_scene_is_blurred_along_its_motion() -> None:
    camera = ShakenCamera(seed=1, shake=0, exposure=1)
    frames = moving(6)
    blurred = [camera.expose(frame) for frame in frames][-1]
    assert difference(blurred, frames[-1]) > 0.01
    across, along = (torch.stack([frames[-1].roll(s, axis) for s in range(-3, 4)]).mean(0)
                     for axis in (2, 3))  # fmt: skip
    assert difference(blurred, along) < difference(blurred, across)


def test_longer_exposure_blurs_more() -> None:
    frames = moving(6)
    short, long = (
        difference([camera.expose(frame) for frame in frames][-1], frames[-1])
        for camera in (ShakenCamera(seed=1, shake=0, exposure=share) for share in (0.2, 1.0))
    )
    assert long > 1.5 * short


def test_shake_is_limited() -> None:
    frame = torch.zeros(1, 3, 240, 240)
    frame[..., 120:] = 1
    camera = ShakenCamera(seed=3, shake=1)
    widths = [((camera.expose(frame)[0, 0, 120] - 0.5).abs() < 0.49).sum() for _ in range(40)]
    assert 1 < max(widths) <= 240 / 60 + 3  # and interpolation at the ends


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    make_clip(path := tmp_path / "clip.mkv")
    return path


@pytest.mark.parametrize(("kind", "word"), [("rain", "rainy"), ("blur", "blurred")])
def test_degraded_video_keeps_its_frames_and_times(clip: Path, kind: str, word: str) -> None:
    result = CliRunner().invoke(main, ["degrade", kind, str(clip), "--codec", "ffv1", "--json"])
    assert result.exit_code == 0, result.output
    target = clip.with_name(f"clip.{word}.mkv")
    assert json.loads(result.stdout.splitlines()[-1])["frames"] == len(CLIP_TIMES)
    with av.open(clip) as before, av.open(target) as after:
        for one, other in zip(before.decode(video=0), after.decode(video=0), strict=True):
            assert one.time == other.time
            assert not np.array_equal(one.to_ndarray(), other.to_ndarray())


def test_degraded_video_depends_on_its_seed(clip: Path, tmp_path: Path) -> None:
    names = {"a": "1", "b": "1", "c": "2"}
    for name, seed in names.items():
        (tmp_path / name).mkdir()
        words = ["degrade", "rain", str(clip), "-o", str(tmp_path / name / "%03d.png")]
        assert CliRunner().invoke(main, [*words, "--seed", seed, "-q"]).exit_code == 0
    one, same, other = (ImageSource(tmp_path / name / "003.png").read() for name in names)
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)
