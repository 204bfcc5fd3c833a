"""Fixed pairs of the validation split, and the score of a network on them.

`lfdn.datasets.samples.split_samples` makes the split: samples held back from the training sets,
never a test set.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import TypeVar

import torch
from torch import Tensor, nn

from lfdn.datasets.images import Pixels, to_tensor, write_image
from lfdn.datasets.samples import Sample
from lfdn.degrade import optical_flow
from lfdn.metrics import luma, psnr, round_to_8_bit
from lfdn.training.degradation import Degradation

MAX_PAIRS = 24
"""Largest number of each kind: real pairs, and clean images degraded here."""
CROP_PX = 256
HIGHEST_DB = 40.0
"""Cap of the PSNR: an image that is hardly degraded must not outweigh the others."""
SHEET_PAIRS = 4
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Score:
    """Mean PSNR in dB over 8-bit pairs, each capped at `HIGHEST_DB`; nan without pairs."""

    input_y: float
    output_y: float
    input_rgb: float
    output_rgb: float


class Validation:
    """Centre crops of the validation split: real pairs, and clean images degraded by seed."""

    def __init__(self, held_back: Sequence[Sample], *, seed: int, degrade: Degradation) -> None:
        """Read and degrade the samples.

        Args:
            held_back: The validation split; may be empty.
            seed: Makes the degradation repeatable.
            degrade: Degradation of the samples without a pair, on the CPU.

        Raises:
            DataError: An image cannot be read.
        """
        generator = torch.Generator().manual_seed(seed)
        self._pairs: list[tuple[Tensor, Tensor]] = []
        for sample in _select_evenly([s for s in held_back if s.degraded is not None]):
            assert sample.degraded is not None
            degraded = _crop_middle(sample.degraded.read())
            self._pairs.append((degraded, _crop_middle(sample.clean.read())))
        for sample in _select_evenly([s for s in held_back if s.degraded is None]):
            clean = sample.clean.read()
            flow = _estimate_centre_flow(sample, clean)
            self._pairs.append(degrade(_crop_middle(clean), flow, generator))

    def __len__(self) -> int:
        return len(self._pairs)

    @property
    def px(self) -> int:
        """Px of all pairs' images."""
        return sum(degraded[0, 0].numel() for degraded, _ in self._pairs)

    def score(
        self,
        network: nn.Module,
        device: torch.device,
        *,
        on_pair: Callable[[int, int], None] | None = None,
    ) -> Score:
        """Restore the degraded image of each pair and score it. Puts the network into eval mode.

        Args:
            network: `[1, 3, H, W]` to the same, on `device`.
            device: Device of the network.
            on_pair: Called before the first pair and after each one: (pairs done, all pairs).

        Returns:
            The mean scores of inputs and outputs; nan without pairs.
        """
        if not self._pairs:
            return Score(math.nan, math.nan, math.nan, math.nan)
        network.eval()
        rows = []
        report = on_pair or (lambda _done, _total: None)
        report(0, len(self))
        with torch.inference_mode():
            for degraded, clean in self._pairs:
                restored = network(degraded.to(device)).cpu()
                rows.append((*_measure_psnr(degraded, clean), *_measure_psnr(restored, clean)))
                report(len(rows), len(self))
        input_y, input_rgb, output_y, output_rgb = (
            fmean(column) for column in zip(*rows, strict=True)
        )
        return Score(input_y, output_y, input_rgb, output_rgb)

    def write_sheet(self, network: nn.Module, device: torch.device, path: Path) -> None:
        """Write some pairs as one image: a row each of degraded, restored and clean.

        Without pairs it writes nothing. Puts the network into eval mode.

        Args:
            network: As for `score`.
            device: As for `score`.
            path: The image file to write.
        """
        columns = []
        network.eval()
        with torch.inference_mode():
            for degraded, clean in _select_evenly(self._pairs, SHEET_PAIRS):
                restored = network(degraded.to(device)).cpu()
                columns.append(torch.cat([degraded, restored, clean], dim=2))
        if not columns:
            return
        height = min(column.shape[2] for column in columns) // 3 * 3
        sheet = torch.cat([column[:, :, :height] for column in columns], dim=3)
        write_image(sheet, path)


def _measure_psnr(image: Tensor, clean: Tensor) -> tuple[float, float]:
    """Measure PSNR on Y and on RGB, in dB, capped at `HIGHEST_DB`."""
    image, clean = round_to_8_bit(image), round_to_8_bit(clean)
    values = psnr(luma(image), luma(clean)), psnr(image, clean)
    on_y, on_rgb = (value.clamp(max=HIGHEST_DB).item() for value in values)
    return on_y, on_rgb


def _select_evenly(items: Sequence[T], count: int = MAX_PAIRS) -> Sequence[T]:
    """Select at most `count` items, evenly spread."""
    return items[:: max(1, len(items) // count)][:count]


def _crop_middle(pixels: Pixels) -> Tensor:
    return to_tensor(pixels[_slice_middle(pixels.shape[0]), _slice_middle(pixels.shape[1])])


def _estimate_centre_flow(sample: Sample, clean: Pixels) -> Tensor:
    """Estimate the centre's motion to the next frame, `[1, 2, H, W]`; zero without one."""
    rows, columns = _slice_middle(clean.shape[0]), _slice_middle(clean.shape[1])
    if sample.following is None:
        return torch.zeros((1, 2, rows.stop - rows.start, columns.stop - columns.start))
    flow = optical_flow(clean, sample.following.read())[rows, columns]
    return torch.from_numpy(flow.copy()).permute(2, 0, 1)[None]


def _slice_middle(length: int) -> slice:
    side = min(length, CROP_PX)
    start = (length - side) // 2
    return slice(start, start + side)
