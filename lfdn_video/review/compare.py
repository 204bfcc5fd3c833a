"""Figures about two files: `lfdn-video compare A B`.

A is the reference, or the source; B what is judged. The measures of single frames and of steadiness
are those of `lfdn evaluate` (`lfdn/metrics.py`, `lfdn/video_metrics.py`).
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from math import inf, isinf, isnan
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from lfdn_video.errors import OptionError
from lfdn_video.options import SpanOptions
from lfdn_video.review.pairs import OnFrame, Pair, Pairs, open_pairs
from lfdn_video.review.xpsnr import Xpsnr

if TYPE_CHECKING:
    from torch import Tensor

SMALLEST_SSIM_SIDE_PX = 11

Quality: TypeAlias = tuple[float | None, float | None, float | None, float | None]
"""PSNR-Y, PSNR-RGB, SSIM-Y, SSIM-RGB."""

NOTHING: Quality = (None, None, None, None)

PROTOCOL = {
    "change": "mean |A - B| of the luma as stored, in codes of 8 bits",
    "psnr_y": "luma of MATLAB's rgb2ycbcr, of frames rounded to 8-bit RGB; mean over frames",
    "psnr_rgb": "all channels together, 8-bit RGB; mean over frames",
    "ssim_y": "Wang et al. 2004, Gaussian window of 11 px, sigma 1.5, valid positions; that luma",
    "ssim_rgb": "the same, mean over the channels",
    "xpsnr_y": "FFmpeg's filter xpsnr, luma, A as the reference; mean over frames",
    "flicker": "warping error of that luma: each frame against the one before, moved by the "
    "optical flow of A (DIS, both ways, where they agree), in codes of 8 bits",
}
"""How each measure is taken."""


@dataclass(frozen=True, slots=True)
class FrameMeasures:
    """What was measured on one pair of frames; None: not on this one."""

    number: int
    """Number of the pair, from 0."""
    time_s: float
    """Time in A, in seconds."""
    identical: bool
    """Every sample is the same."""
    change: float
    """Mean absolute difference of the luma, in 8-bit codes."""
    psnr_y: float | None
    """PSNR of the luma in dB; `inf` where the frames are equal."""
    psnr_rgb: float | None
    """PSNR of all channels together in dB; `inf` where the frames are equal."""
    ssim_y: float | None
    """SSIM of the luma, up to 1; None too where a side is shorter than the window."""
    ssim_rgb: float | None
    """SSIM, mean over the channels."""
    xpsnr_y: float | None
    """XPSNR of the luma in dB; `inf` where the frames are equal."""
    flicker_before: float | None
    """Warping error of A, in 8-bit codes; None on the first frame, and where no flow is trusted."""
    flicker_after: float | None
    """The same of B, along the motion of A."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One measure over all frames it was taken on."""

    mean: float
    """Mean over those frames on which it is finite; `inf` if there are none."""
    least: float
    """The lowest one."""
    most: float
    """The highest one."""
    frames: int
    """Number of frames it was taken on."""
    infinite: int = 0
    """Frames, of `frames`, on which it is infinite."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """What `compare` found."""

    before: Path
    """A."""
    after: Path
    """B."""
    size: tuple[int, int]
    """Width and height of the first frame in px, upright."""
    frames: int
    """Pairs of frames."""
    identical_frames: int
    """Pairs, of `frames`, that agree in every sample; their PSNR is infinite."""
    unpaired_before: int
    """Frames of A that B does not have."""
    unpaired_after: int
    """Frames of B that A does not have."""
    figures: dict[str, Figure]
    """By measure, a name of `FrameMeasures`; a measure that could not be taken is not there."""
    protocol: dict[str, str]
    """How each is taken."""
    per_frame: tuple[FrameMeasures, ...]
    """In the order of time."""


def compare(
    before: str | Path,
    after: str | Path,
    *,
    span: SpanOptions | None = None,
    every: int = 1,
    on_frame: OnFrame | None = None,
) -> Comparison:
    """Measure how two files differ, and how steady each is.

    Args:
        before: A, the reference or the source: a video, or images.
        after: B, what is judged.
        span: the part of A that B shows; None: all of it.
        every: measure PSNR, SSIM and flicker on every so many frames, 1 or more; change and XPSNR
            are taken on all.
        on_frame: called after each pair with the number done and, if it is known, of all.

    Returns:
        The figures.

    Raises:
        OptionError: `every` is below 1.
        InputError: a file cannot be read, or they have no frame in common.
    """
    if every < 1:
        raise OptionError(f"every: must be at least 1, got {every}")
    with open_pairs(before, after, span, on_frame=on_frame) as pairs:
        measured = list(_measure(pairs, every))
        return Comparison(
            before=pairs.before.path,
            after=pairs.after.path,
            size=_upright_size(pairs),
            frames=len(measured),
            identical_frames=sum(each.identical for each in measured),
            unpaired_before=pairs.unpaired_before,
            unpaired_after=pairs.unpaired_after,
            figures=_summarize(measured),
            protocol=PROTOCOL,
            per_frame=tuple(measured),
        )


def _upright_size(pairs: Pairs) -> tuple[int, int]:
    info = pairs.before
    return (info.height, info.width) if info.rotation % 180 else (info.width, info.height)


def _measure(pairs: Pairs, every: int) -> Generator[FrameMeasures]:
    previous: tuple[Tensor, Tensor] | None = None
    with Xpsnr(pairs.before, pairs.after) as xpsnr:
        for pair in pairs:
            is_due = pair.number % every == 0
            is_followed = (pair.number + 1) % every == 0
            images = _to_tensors(pair) if is_due or is_followed else None
            change = float(np.abs(pair.before.luma() - pair.after.luma()).mean())
            weighted = xpsnr.measure(pair)
            single = measure_images(*images) if images is not None and is_due else NOTHING
            flicker: Sequence[float | None] = (None, None)
            if previous is not None and images is not None and is_due:
                flicker = measure_flicker(previous, images)
            previous = images
            before, after = flicker
            yield FrameMeasures(
                pair.number,
                pair.time_s,
                pair.is_identical,
                change,
                *single,
                weighted,
                before,
                after,
            )


def _to_tensors(pair: Pair) -> tuple[Tensor, Tensor]:
    return to_tensor(pair.before.image()), to_tensor(pair.after.image())


def to_tensor(image: np.ndarray[tuple[int, int, int], np.dtype[np.uint8]]) -> Tensor:
    """Convert an image to float `[1, 3, H, W]` in 0…1."""
    import torch

    return torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255


def measure_images(one: Tensor, other: Tensor) -> Quality:
    """Measure PSNR-Y, PSNR-RGB, SSIM-Y and SSIM-RGB.

    Args:
        one: RGB `[1, 3, H, W]` in 0…1, the reference.
        other: like `one`.

    Returns:
        dB and dB, `inf` where both are equal; then up to 1, None where a side is too short.
    """
    from lfdn.metrics import luma, psnr, ssim

    lumas = luma(other), luma(one)
    found = psnr(*lumas).item(), psnr(other, one).item()
    if min(one.shape[-2:]) < SMALLEST_SSIM_SIDE_PX:
        return (*found, None, None)
    return (*found, ssim(*lumas).item(), ssim(other, one).item())


def measure_flicker(previous: Sequence[Tensor], images: Sequence[Tensor]) -> list[float | None]:
    """Measure the warping error of several versions of two consecutive frames.

    Args:
        previous: RGB `[1, 3, H, W]` in 0…1 of each version; the motion is that of the first.
        images: the frames that follow, in the same order.

    Returns:
        8-bit codes for each version; None if the motion cannot be trusted anywhere.
    """
    from lfdn.metrics import luma
    from lfdn.video_metrics import estimate_motion, warping_error

    if previous[0].shape != images[0].shape:
        return [None for _ in images]
    motion = estimate_motion(previous[0], images[0])
    errors = (
        warping_error([luma(one), luma(other)], [motion])
        for one, other in zip(previous, images, strict=True)
    )
    return [None if isnan(error) else error for error in errors]


def _summarize(measured: Iterable[FrameMeasures]) -> dict[str, Figure]:
    names = [
        name for name in FrameMeasures.__slots__ if name not in ("number", "time_s", "identical")
    ]
    columns = {name: [getattr(each, name) for each in measured] for name in names}
    return {name: figure for name, values in columns.items() if (figure := _figure(values))}


def _figure(values: list[float | None]) -> Figure | None:
    taken = [value for value in values if value is not None]
    if not taken:
        return None
    finite = [value for value in taken if not isinf(value)]
    mean = sum(finite) / len(finite) if finite else inf
    return Figure(mean, min(taken), max(taken), len(taken), len(taken) - len(finite))
