"""From samples to the batch of every training step.

A batch is a pure function of (seed, step): any step can be drawn again, on any machine, without
drawing those before it. This makes resuming exact, and the result independent of the number of
workers.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from lfdn.datasets.images import DataError, Pixels
from lfdn.datasets.samples import Sample
from lfdn.degrade import optical_flow

Flow = npt.NDArray[np.float16]
"""Motion to the next frame in px, `[H, W, 2]`, x then y."""

SMALLEST_SIDE_PX = 380
"""Larger clean images are shrunk by a random factor, down to this, so that scales vary."""
MAX_DRAWS = 4
"""A crop without enough detail is drawn again, up to this number of draws; the last one stands."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CropStage:
    """A part of a training run, with crops of one size."""

    until: float
    """End of the stage, as a fraction of all steps."""
    patch_px: int
    """Side of the square crops."""
    batch: int
    """Crops in a batch."""


@dataclass(frozen=True, slots=True)
class CropBatch:
    """The crops of one step, before synthetic degradation."""

    degraded: Tensor
    """uint8 `[B, 3, P, P]`. Where `paired` is false it equals `clean`, and is degraded later."""
    clean: Tensor
    """uint8 `[B, 3, P, P]`."""
    paired: Tensor
    """bool `[B]`: true for crops of samples with a degraded counterpart."""
    flow: Tensor
    """float32 `[B, 2, P, P]`: motion to the next frame in px, x then y; zero where unknown."""

    def pin_memory(self) -> "CropBatch":
        """Copy the batch to page-locked memory, as `DataLoader` asks for."""
        parts = (self.degraded, self.clean, self.flow)
        degraded, clean, flow = (part.pin_memory() for part in parts)
        return CropBatch(degraded, clean, self.paired, flow)


class CropDataset(Dataset[CropBatch]):
    """The batches of a whole run: item `step` is a `CropBatch`. Holds all images in memory."""

    def __init__(
        self,
        samples: Sequence[Sample],
        stages: Sequence[CropStage],
        *,
        steps: int,
        seed: int,
        paired_share: float,
        smallest_side_px: int = SMALLEST_SIDE_PX,
        least_detail: float = 0.0,
        motion: bool = False,
    ) -> None:
        """Read all samples into memory.

        Args:
            samples: Pairs, clean images, or both.
            stages: In the order of `until`.
            steps: Number of steps of the run.
            seed: Makes the crops repeatable.
            paired_share: Share (0…1) of each batch from samples with a degraded counterpart.
            smallest_side_px: Larger clean images are shrunk by a random factor, down to this.
            least_detail: Mean difference between neighbouring pixels, in 8-bit codes, below which
                a crop without a pair is drawn again; an empty sky teaches nothing.
            motion: Estimate the flow to the following frame, where a sample has one.

        Raises:
            DataError: There are no samples, one has several references, an image cannot be read,
                a pair differs in size, or crops are larger than every image.
        """
        if several := next((s for s in samples if s.alternatives), None):
            raise DataError(f"{several.name}: has several references; that is for evaluation alone")
        self._pairs = [_load(s, motion=False) for s in samples if s.degraded is not None]
        self._clean = [_load(s, motion=motion) for s in samples if s.degraded is None]
        if not (self._pairs or self._clean):
            raise DataError("no images to train on; name a data set")
        self._stages = tuple(stages)
        self._steps = steps
        self._seed = seed
        self._smallest_side_px = smallest_side_px
        self._least_detail = least_detail
        # With only one kind of samples, every crop is of that kind, whatever the share.
        self._paired_share = 1.0 if not self._clean else paired_share if self._pairs else 0.0
        self._check_sides()

    def __len__(self) -> int:
        return self._steps

    def get_stage(self, step: int) -> CropStage:
        """Return the stage of `step`, counted from 0."""
        return select_stage(self._stages, step / self._steps)

    def __getitem__(self, step: int) -> CropBatch:
        # Seeded by the step, not carried over from the one before: see the top of this file.
        rng = np.random.default_rng((self._seed, step))
        stage = self.get_stage(step)
        # A fraction of a crop is a crop with that probability: the share holds on average.
        wanted = stage.batch * self._paired_share
        pairs = int(wanted) + (rng.random() < wanted % 1)
        crops = [self._draw(rng, stage.patch_px, paired=i < pairs) for i in range(stage.batch)]
        return CropBatch(
            degraded=_stack(
                [crop.clean if crop.degraded is None else crop.degraded for crop in crops]
            ),
            clean=_stack([crop.clean for crop in crops]),
            paired=torch.arange(stage.batch) < pairs,
            flow=_stack_flows(crops, stage.patch_px),
        )

    def _check_sides(self) -> None:
        """Refuse crops that are larger than every image; tell how many images are smaller."""
        side = max(stage.patch_px for stage in self._stages)
        pools = (("pair", self._pairs, self._paired_share),
                 ("clean image", self._clean, 1 - self._paired_share))  # fmt: skip
        for kind, images, share in pools:
            sides = [min(image.clean.shape[:2]) for image in images] if share else []
            if small := count_small_images(kind, sides, side):
                logger.warning(
                    "%d of %d %ss have a side below %d px: their largest crops are enlarged",
                    small, len(sides), kind, side,
                )  # fmt: skip

    def _draw(self, rng: np.random.Generator, patch_px: int, *, paired: bool) -> "_LoadedSample":
        pool = self._pairs if paired else self._clean
        for _ in range(MAX_DRAWS):
            crop = _crop(pool[int(rng.integers(len(pool)))], patch_px, self._smallest_side_px, rng)
            if paired or _measure_detail(crop.clean) >= self._least_detail:
                break
        return crop


def count_small_images(kind: str, sides_px: Sequence[int], patch_px: int) -> int:
    """Count the images that are smaller than a crop.

    Args:
        kind: What they are, for the message.
        sides_px: The shorter side of each image.
        patch_px: Side of the largest crops, margins included.

    Raises:
        DataError: All of them are.
    """
    if sides_px and max(sides_px) < patch_px:
        raise DataError(
            f"no {kind} has sides of {patch_px} px, the largest has {max(sides_px)} px; choose "
            "smaller crops in --stages, or a smaller --margin-px"
        )
    return sum(side < patch_px for side in sides_px)


def select_stage(stages: Sequence[CropStage], done: float) -> CropStage:
    """Return the stage of a run of which a share `done`, 0…1, is over."""
    return next((stage for stage in stages if done < stage.until), stages[-1])


@dataclass(frozen=True, slots=True)
class _LoadedSample:
    """The pixels of a sample, or of a crop of it."""

    clean: Pixels
    degraded: Pixels | None
    flow: Flow | None


def _load(sample: Sample, *, motion: bool) -> _LoadedSample:
    clean = sample.clean.read()
    flow = None
    if motion and sample.following is not None:
        flow = optical_flow(clean, sample.following.read()).astype(np.float16)
    if sample.degraded is None:
        return _LoadedSample(clean, None, flow)
    degraded = sample.degraded.read()
    if degraded.shape != clean.shape:
        raise DataError(
            f"{sample.degraded}: {degraded.shape[1]}x{degraded.shape[0]} px, its pair has "
            f"{clean.shape[1]}x{clean.shape[0]}; pairs must be of one size"
        )
    return _LoadedSample(clean, degraded, None)


def _crop(
    sample: _LoadedSample, patch_px: int, smallest_side_px: int, rng: np.random.Generator
) -> _LoadedSample:
    """Crop the same random square from all parts, and mirror it in half of the cases.

    Clean images without a pair are also shrunk, if they are large enough. A pair is not: its rain
    or blur would shrink with it, and no longer be that of the data set.
    """
    height, width = sample.clean.shape[:2]
    room = min(height, width) / max(smallest_side_px, patch_px)
    factor = float(rng.uniform(1, room)) if room > 1 and sample.degraded is None else 1.0
    side = min(round(patch_px * factor), height, width)
    top = int(rng.integers(height - side + 1))
    left = int(rng.integers(width - side + 1))
    mirror = rng.random() < 0.5
    window = np.s_[top : top + side, left : left + side]

    def cut(pixels: Pixels) -> Pixels:
        square = pixels[window]
        if side != patch_px:
            resized = Image.fromarray(square).resize((patch_px, patch_px), Image.Resampling.BICUBIC)
            square = np.asarray(resized)
        return square[:, ::-1] if mirror else square

    return _LoadedSample(
        cut(sample.clean),
        None if sample.degraded is None else cut(sample.degraded),
        None if sample.flow is None else _resize_flow(sample.flow[window], patch_px, mirror=mirror),
    )


def _measure_detail(pixels: Pixels) -> float:
    """Compute the mean difference between neighbouring pixels in green, in 8-bit codes."""
    green = pixels[..., 1].astype(np.int16)
    return float(np.mean([np.abs(np.diff(green, axis=axis)).mean() for axis in (0, 1)]))


def _resize_flow(square: Flow, patch_px: int, *, mirror: bool) -> Flow:
    """Resample a square of flow. Its vectors scale with it, and x changes sign if mirrored."""
    side = square.shape[0]
    nearest = np.minimum(((np.arange(patch_px) + 0.5) * side / patch_px).astype(int), side - 1)
    flow: Flow = square[nearest][:, nearest] * np.float16(patch_px / side)
    return flow[:, ::-1] * np.array([-1, 1], np.float16) if mirror else flow


def _stack(crops: Sequence[Pixels]) -> Tensor:
    return torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).contiguous()


def _stack_flows(crops: Sequence[_LoadedSample], patch_px: int) -> Tensor:
    still = np.zeros((patch_px, patch_px, 2), np.float16)
    flows = np.stack([still if crop.flow is None else crop.flow for crop in crops])
    return torch.from_numpy(flows).permute(0, 3, 1, 2).float()
