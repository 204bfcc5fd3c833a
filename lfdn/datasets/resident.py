"""All images of a training set in the memory of one device, and random crops of them by one gather.

`lfdn.datasets.crops` cuts each crop on the CPU, in other processes; a GPU would wait for them. Here
the pixels of all images follow each other in one tensor, without padding, and a crop is a square of
positions in it. Clean images are there at up to three sizes, so that scales vary.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from lfdn.datasets.images import DataError, Pixels
from lfdn.datasets.samples import Sample

LARGEST_PX = (1080, 1920)
"""Sides of what is kept of an image: the middle of a larger pair; a larger clean image is shrunk
until its shorter side has the first number."""
LEAST_ROOM = 1.1
"""A clean image that can be shrunk by less than this factor is kept at one size."""

PairWeights = Sequence[tuple[str, float]]
"""(beginning of the names of some pairs, their share of all crops from pairs in 0…1)."""


class ImageStore:
    """Images of any size in one tensor, and random squares of them."""

    def __init__(
        self,
        images: Sequence[Sequence[Pixels]],
        shares: Sequence[float],
    ) -> None:
        """Copy images, in the memory of the CPU.

        Args:
            images: For each image its versions, largest first, uint8 `[H, W, C]` with one C.
            shares: Relative frequency of each image.
        """
        versions = [version for image in images for version in image]
        sides = np.array([version.shape[:2] for version in versions], np.int64)
        self._widths = sides[:, 1]
        self._heights = sides[:, 0]
        self._starts = np.concatenate([[0], np.cumsum(sides.prod(1))[:-1]])
        counts = np.array([len(image) for image in images])
        self._first = np.concatenate([[0], np.cumsum(counts)[:-1]])
        self._counts = counts
        self._shares = np.array(shares, np.float64)
        flat = np.concatenate([version.reshape(-1, version.shape[2]) for version in versions])
        self._pixels = torch.from_numpy(flat)

    def move(self, device: torch.device) -> None:
        """Move the pixels to a device."""
        self._pixels = self._pixels.to(device)

    @property
    def bytes(self) -> int:
        """Size in memory."""
        return self._pixels.numel()

    @property
    def sides_px(self) -> list[int]:
        """The shorter side of each image, at its largest version."""
        return np.minimum(self._heights, self._widths)[self._first].tolist()  # type: ignore[no-any-return]  # numpy

    def draw(self, rng: np.random.Generator, count: int, patch_px: int) -> Tensor:
        """Draw random squares of random images, each version that is large enough equally often.

        Args:
            rng: Source of all randomness.
            count: Number of squares.
            patch_px: Their side P.

        Returns:
            uint8 `[count, C, P, P]` on the device, channels last in memory.

        Raises:
            DataError: No image is large enough.
        """
        fits = np.minimum(self._heights, self._widths) >= patch_px
        usable = np.add.reduceat(fits.astype(np.int64), self._first)  # the first ones of each image
        chances = self._shares * (usable > 0)
        if not chances.any():
            raise DataError(
                f"no image has sides of {patch_px} px; choose smaller crops in --stages, or a "
                "smaller --margin-px"
            )
        image = rng.choice(len(chances), count, p=chances / chances.sum())
        version = self._first[image] + (rng.random(count) * usable[image]).astype(np.int64)
        width, height = self._widths[version], self._heights[version]
        top = (rng.random(count) * (height - patch_px + 1)).astype(np.int64)
        left = (rng.random(count) * (width - patch_px + 1)).astype(np.int64)
        corner = self._starts[version] + top * width + left
        places = torch.from_numpy(np.stack([corner, width])).to(self._pixels.device)
        corner_on, width_on = places.view(2, count, 1, 1)
        steps = torch.arange(patch_px, device=self._pixels.device)
        index = corner_on + steps.view(1, -1, 1) * width_on + steps.view(1, 1, -1)
        squares = self._pixels.index_select(0, index.view(-1))
        return squares.view(count, patch_px, patch_px, -1).permute(0, 3, 1, 2)


class ResidentImages:
    """The pairs and the clean images of a training set, first in the memory of the CPU."""

    def __init__(
        self,
        samples: Sequence[Sample],
        *,
        smallest_side_px: int,
        pair_weights: PairWeights = (),
    ) -> None:
        """Read all samples.

        Args:
            samples: Pairs, clean images, or both.
            smallest_side_px: Shorter side of the smallest version of a larger clean image.
            pair_weights: Shares of the crops from pairs; pairs that are not named have the rest,
                each image the same. Without any, each pair is equally frequent.

        Raises:
            DataError: There are no samples, one has several references, an image cannot be read, a
                pair differs in size, or `pair_weights` names no pair.
        """
        if several := next((s for s in samples if s.alternatives), None):
            raise DataError(f"{several.name}: has several references; that is for evaluation alone")
        if not samples:
            raise DataError("no images to train on; name a data set")
        pairs = [s for s in samples if s.degraded is not None]
        clean = [s for s in samples if s.degraded is None]
        shares = share_pairs([s.name for s in pairs], pair_weights)
        with ThreadPoolExecutor(os.cpu_count()) as threads:
            both = list(threads.map(_read_pair, pairs))
            alone = list(threads.map(lambda s: _read_versions(s, smallest_side_px), clean))
        self.pairs = ImageStore([[x] for x in both], shares.tolist()) if both else None
        """Clean and degraded image as six channels; None without pairs."""
        self.clean = ImageStore(alone, [1.0] * len(alone)) if alone else None
        """Clean images without a pair; None if there are none."""

    @property
    def bytes(self) -> int:
        """Size in memory."""
        return sum(store.bytes for store in (self.pairs, self.clean) if store is not None)

    def move(self, device: torch.device) -> None:
        """Move all pixels to a device."""
        for store in (self.pairs, self.clean):
            if store is not None:
                store.move(device)


def share_pairs(names: Sequence[str], weights: PairWeights) -> npt.NDArray[np.float64]:
    """Give each pair its share: a group's is divided among its members.

    Args:
        names: Of the pairs.
        weights: Shares of groups; without any, all pairs are equal.

    Returns:
        A number for each pair; relative, they need not sum up to 1.

    Raises:
        DataError: `weights` names no pair, or every share is 0.
    """
    if not weights:
        return np.ones(len(names))
    group = np.full(len(names), -1)
    for number, (beginning, _) in enumerate(weights):
        own = np.array([name.startswith(beginning) for name in names], bool) & (group < 0)
        if not own.any():
            raise DataError(f"--pair-weights: the name of no pair begins with {beginning!r}")
        group[own] = number
    rest = max(0.0, 1 - sum(share for _, share in weights))
    totals = np.array([*(share for _, share in weights), rest])  # -1 is the last one: the rest
    sizes = np.bincount(group % len(totals), minlength=len(totals))
    shares: npt.NDArray[np.float64] = (totals / np.maximum(1, sizes))[group]
    if not shares.any():
        raise DataError("--pair-weights: every share is 0")
    return shares


def _read_pair(sample: Sample) -> Pixels:
    """Read a pair as six channels, its middle if it is very large."""
    assert sample.degraded is not None
    clean, degraded = sample.clean.read(), sample.degraded.read()
    if degraded.shape != clean.shape:
        raise DataError(
            f"{sample.degraded}: {degraded.shape[1]}x{degraded.shape[0]} px, its pair has "
            f"{clean.shape[1]}x{clean.shape[0]}; pairs must be of one size"
        )
    limits = LARGEST_PX if clean.shape[0] <= clean.shape[1] else LARGEST_PX[::-1]
    top, left = (max(0, (s - limit) // 2) for s, limit in zip(clean.shape[:2], limits, strict=True))
    window = np.s_[top : top + limits[0], left : left + limits[1]]
    return np.concatenate([clean[window], degraded[window]], axis=2)


def _read_versions(sample: Sample, smallest_side_px: int) -> list[Pixels]:
    """Read a clean image at up to three sizes, largest first."""
    image = sample.clean.read()
    shrunk = min(image.shape[:2]) / LARGEST_PX[0]
    versions = [_shrink(image, shrunk) if shrunk > 1 else image]
    room = min(versions[0].shape[:2]) / smallest_side_px
    if room > LEAST_ROOM:
        versions += [_shrink(versions[0], room**0.5), _shrink(versions[0], room)]
    return versions


def _shrink(image: Pixels, factor: float) -> Pixels:
    height, width = (round(side / factor) for side in image.shape[:2])
    small = Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(small)
