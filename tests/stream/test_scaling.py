"""The scaled runner: the network works on a smaller frame, and the frame keeps its detail."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor

from lfdn_video.inference.colour import PlaneConverter
from lfdn_video.inference.scheduler import restore_frames
from lfdn_video.stream.scaling import ScaledRunner
from tests.support.fakes import FakeRunner, brighten, noise_frames, video_info


def scaled(runner: FakeRunner, scale: float) -> ScaledRunner:
    around = ScaledRunner(runner)
    around.scale = scale
    return around


@dataclass(frozen=True)
class ResidualJob:
    """A job whose result is the residual itself."""

    batch: Tensor

    @property
    def height(self) -> int:
        return self.batch.shape[2]

    @property
    def width(self) -> int:
        return self.batch.shape[3]

    def make_batch(self) -> Tensor:
        return self.batch

    def consume(self, residual: Tensor, /) -> Tensor:
        return residual


def residual_of(runner: ScaledRunner, batch: Tensor) -> Tensor:
    return runner.submit(ResidualJob(batch)).result()


@pytest.mark.parametrize("scale", [0.25, 0.5, 1.0])
def test_identity_network_keeps_every_sample_at_any_scale(scale: float) -> None:
    info = video_info(height=48, width=64)
    (frame,) = noise_frames(info, 1)
    (restored,) = restore_frames([frame], PlaneConverter(info), scaled(FakeRunner(), scale))
    for before, after in zip(frame.planes, restored.planes, strict=True):
        assert np.array_equal(before, after)


def test_network_is_given_a_smaller_frame() -> None:
    runner, info = FakeRunner(), video_info(height=64, width=96)
    list(restore_frames(noise_frames(info, 1), PlaneConverter(info), scaled(runner, 0.5)))
    assert runner.batches == [(1, 3, 32, 48)]


def test_residual_is_enlarged_to_the_whole_frame() -> None:
    runner = scaled(FakeRunner(brighten(0.1)), 0.25)
    batch = torch.rand(1, 3, 64, 96) * 0.5
    residual = residual_of(runner, batch)
    assert residual.shape == batch.shape
    # The tolerance is for the interpolation.
    assert torch.allclose(residual, torch.full_like(residual, 0.1), atol=1e-6)


def test_no_frame_is_scaled_below_the_smallest_input() -> None:
    runner = FakeRunner()
    residual_of(scaled(runner, 0.25), torch.rand(1, 3, 20, 300))
    assert runner.batches == [(1, 3, 16, 75)]


def test_frame_never_waits_for_the_next_one() -> None:
    scaled_runner = ScaledRunner(FakeRunner(max_batches_in_flight=1, max_downloads_in_flight=1))
    assert scaled_runner.max_batches_in_flight == 0
    assert scaled_runner.max_downloads_in_flight == 0
