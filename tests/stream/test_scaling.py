"""The network at a smaller scale, and frames that keep their detail."""

import numpy as np
import pytest
import torch

from lfdn_video.inference.colour import PlaneConverter
from lfdn_video.inference.scheduler import restore_frames
from lfdn_video.stream.scaling import ScaledRunner
from tests.support.fakes import FakeRunner, brighten, noise_frames, video_info


def scaled(runner: FakeRunner, scale: float) -> ScaledRunner:
    around = ScaledRunner(runner)
    around.scale = scale
    return around


def residual_of(runner: ScaledRunner, batch: torch.Tensor) -> torch.Tensor:
    height, width = batch.shape[2:]
    return runner.run(lambda: batch, lambda residual: residual, height=height, width=width).result()


@pytest.mark.parametrize("scale", [0.25, 0.5, 1.0])
def test_a_frame_the_network_leaves_alone_keeps_every_sample(scale: float) -> None:
    info = video_info(height=48, width=64)
    (frame,) = noise_frames(info, 1)
    (restored,) = restore_frames([frame], PlaneConverter(info), scaled(FakeRunner(), scale))
    for before, after in zip(frame.planes, restored.planes, strict=True):
        assert np.array_equal(before, after)


def test_the_network_gets_a_smaller_input() -> None:
    runner, info = FakeRunner(), video_info(height=64, width=96)
    list(restore_frames(noise_frames(info, 1), PlaneConverter(info), scaled(runner, 0.5)))
    assert runner.batches == [(1, 3, 32, 48)]


def test_the_residual_is_enlarged_to_full_size() -> None:
    runner = scaled(FakeRunner(brighten(0.1)), 0.25)
    batch = torch.rand(1, 3, 64, 96) * 0.5
    residual = residual_of(runner, batch)
    assert residual.shape == batch.shape
    assert torch.allclose(
        residual, torch.full_like(residual, 0.1), atol=1e-6
    )  # interpolation rounds


def test_no_side_becomes_smaller_than_the_network_takes() -> None:
    runner = FakeRunner()
    residual_of(scaled(runner, 0.25), torch.rand(1, 3, 20, 300))
    assert runner.batches == [(1, 3, 16, 75)]


def test_a_frame_never_waits_for_the_next_one() -> None:
    scaled_runner = ScaledRunner(FakeRunner(lookahead=1, returning=1))
    assert (scaled_runner.lookahead, scaled_runner.returning) == (0, 0)
