"""Rendered streaks laid over the frames of a run, others in each frame."""

from pathlib import Path

import torch
from torch import Tensor

from lfdn.datasets.layouts import read_streak_bank
from lfdn.degrade.rain import cover, rendered_streaks
from lfdn_video.inference.engine import Engine

SEED = 3
GAIN = 0.6


def make_rendering_engine(bank: Path) -> Engine:
    """Make an engine that lays other streaks of a bank over each frame, in the same light."""
    layers = read_streak_bank(bank)
    generator = torch.Generator().manual_seed(SEED)

    def lay(frame: Tensor) -> Tensor:
        height, width = frame.shape[2:]
        streaks = GAIN * rendered_streaks(layers, 1, height, width, generator=generator)
        rainy = cover(frame, streaks, generator=torch.Generator().manual_seed(SEED))
        return rainy

    # The task says that it is not `derain`: the temporal stage would take the rain out again.
    return Engine(lay, model_id=f"rendered {SEED} {GAIN}", task="rain")
