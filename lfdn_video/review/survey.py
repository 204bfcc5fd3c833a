"""One pass over source and result for a report: what changed when, and frames to show.

Every frame is compared by its luma; steadiness, and quality against a reference, are measured on
frames spread evenly over the video, so that a report costs a small part of the run.
"""

from __future__ import annotations

from array import array
from collections.abc import Generator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from lfdn_video.errors import InputError
from lfdn_video.frame_io import FrameReader
from lfdn_video.input.open import open_reader
from lfdn_video.media import FALLBACK_RATE, Frame, Image, VideoInfo
from lfdn_video.options import SpanOptions
from lfdn_video.review.compare import measure_flicker, measure_images, to_tensor
from lfdn_video.review.pairs import OnFrame, Pair, Pairs, View, open_pairs

SAMPLES = 40
"""Frames on which steadiness and quality are measured."""

UNKNOWN_STRIDE = 25
"""Every so many frames are measured where the source does not say how many it has."""

FLICKER_WIDTH_PX = 960
"""Wider frames are made smaller for the optical flow, by a whole factor."""

EVEN_SHOTS, CHANGED_SHOTS = 6, 3
MOST_SHOTS = 16
CHANGED_APART_S = 1.0
"""Least distance between the most changed frames that are shown."""

TOUCHED_CODES = 4.0
"""A px has changed if its luma did by more than this, in 8-bit codes; encoding alone does less."""


@dataclass(frozen=True, slots=True, eq=False)
class Shot:
    """A pair of frames to show."""

    pair: Pair
    time_s: float
    """From the first frame."""
    change: float
    """Mean absolute change of its luma, in 8-bit codes."""
    why: str
    """Why it was chosen; empty: it is one of those that are evenly spaced."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What was measured on a frame and the one before; None: it could not be, or needs a
    reference."""

    time_s: float
    flicker_before: float | None
    flicker_after: float | None
    psnr_before: float | None = None
    psnr_after: float | None = None
    ssim_before: float | None = None
    ssim_after: float | None = None
    rain_left: float | None = None
    """What is brighter than the reference, as a share of that in the source."""


@dataclass(slots=True)
class Survey:
    """What a pass found."""

    before: VideoInfo
    after: VideoInfo
    readers: tuple[FrameReader, FrameReader]
    size: tuple[int, int] = (0, 0)
    """Width and height of the first frame in px, upright."""
    times_s: array[float] = field(default_factory=lambda: array("d"))
    """From the first frame."""
    change: array[float] = field(default_factory=lambda: array("d"))
    """Mean absolute change of the luma of each frame, in 8-bit codes."""
    touched: array[float] = field(default_factory=lambda: array("d"))
    """Share of the px of each frame that changed by more than `TOUCHED_CODES`."""
    samples: list[Sample] = field(default_factory=list)
    shots: list[Shot] = field(default_factory=list)
    unpaired_before: int = 0
    unpaired_after: int = 0


def survey(
    source: str | Path,
    result: str | Path,
    *,
    reference: str | Path | None = None,
    span: SpanOptions | None = None,
    deinterlace: bool = False,
    at_s: Sequence[float] = (),
    on_frame: OnFrame | None = None,
) -> Survey:
    """Read source, result and reference once.

    Args:
        source: the source of a run: a video, or images.
        result: what the run wrote.
        reference: the same frames without rain or blur; None: there is none.
        span: the part of the source that was restored; None: all of it.
        deinterlace: the source was deinterlaced.
        at_s: times of frames to show besides those chosen, in seconds from the first frame.
        on_frame: called after each frame, as by `compare`.

    Returns:
        Series, samples and frames to show.

    Raises:
        InputError: a file cannot be read, or has no frame of the source, or another size.
    """
    with ExitStack() as stack:
        pairs = stack.enter_context(
            open_pairs(source, result, span, deinterlace=deinterlace, on_frame=on_frame)
        )
        truth = None
        if reference is not None:
            reader = stack.enter_context(open_reader(reference, span))
            truth = stack.enter_context(closing(_Follower(reader, pairs.before)))
        found = Survey(pairs.before, pairs.after, pairs.readers)
        _read(pairs, truth, found, span or SpanOptions(), sorted(at_s))
        found.unpaired_before = pairs.unpaired_before
        found.unpaired_after = pairs.unpaired_after
        if truth is not None and not any(sample.psnr_after is not None for sample in found.samples):
            raise InputError(
                f"{truth.path}: has no frame at a time of {pairs.before.path}; "
                "give the same video without rain"
            )
    return found


def _read(
    pairs: Pairs, truth: _Follower | None, found: Survey, span: SpanOptions, at_s: list[float]
) -> None:
    expected = pairs.before.expected_frames(span)
    stride = max(1, -(-expected // SAMPLES)) if expected else UNKNOWN_STRIDE
    chosen = _Choice(at_s)
    previous: tuple[View, ...] | None = None
    for pair in pairs:
        if not pair.number:
            found.size = pair.before.size
            origin_s = pair.time_s
        time_s = pair.time_s - origin_s
        difference = np.abs(pair.before.luma() - pair.after.luma())
        change = float(difference.mean())
        found.times_s.append(time_s)
        found.change.append(change)
        found.touched.append(float((difference > TOUCHED_CODES).mean()))
        views: tuple[View, ...] = (pair.before, pair.after)
        clean = truth.at(pair.number, time_s) if truth is not None else None
        if clean is not None:
            _check_reference(clean, truth, pair.before)
            views = (clean, *views)
        if pair.number % stride == stride // 2 or expected == 1:
            found.samples.append(_measure(time_s, previous, views))
        previous = views
        chosen.offer(pair, time_s, change)
    found.shots = chosen.shots()


def _check_reference(clean: View, truth: _Follower | None, before: View) -> None:
    if truth is not None and clean.size != before.size:
        one, other = ("×".join(map(str, view.size)) for view in (clean, before))
        raise InputError(f"{truth.path}: is {one}, not {other} as the source; give one of its size")


def _measure(time_s: float, previous: tuple[View, ...] | None, views: tuple[View, ...]) -> Sample:
    steady: tuple[float | None, float | None] = (None, None)
    if previous is not None and len(previous) == len(views):
        past, present = (
            [to_tensor(_shrink(view.image())) for view in each] for each in (previous, views)
        )
        *_, flicker_before, flicker_after = measure_flicker(past, present)
        steady = flicker_before, flicker_after
    if len(views) < 3:
        return Sample(time_s, *steady)
    clean, before, after = (view.luma() for view in views)
    truth, one, other = (to_tensor(view.image()) for view in views)
    psnr_before, _, ssim_before, _ = measure_images(truth, one)
    psnr_after, _, ssim_after, _ = measure_images(truth, other)
    brighter = float((before - clean).clip(0).mean())
    left = float((after - clean).clip(0).mean()) / brighter if brighter else None
    return Sample(time_s, *steady, psnr_before, psnr_after, ssim_before, ssim_after, left)


def _shrink(image: Image) -> Image:
    """Average whole groups of px, so that the frame is at most `FLICKER_WIDTH_PX` wide."""
    height, width = image.shape[:2]
    factor = -(-width // FLICKER_WIDTH_PX)
    if factor == 1 or height < factor:
        return image
    rows, columns = height // factor, width // factor
    groups = image[: rows * factor, : columns * factor].reshape(rows, factor, columns, factor, 3)
    smaller: Image = groups.mean(axis=(1, 3)).round().astype(np.uint8)
    return smaller


class _Follower:
    """Finds the frames of a reference that belong to those of the source."""

    def __init__(self, reader: FrameReader, source: VideoInfo) -> None:
        self.path = reader.info.path
        self._tick_s = reader.info.time_base
        self._info = reader.info
        self._in_order = reader.info.from_images or source.from_images
        self._tolerance_s = float(1 / (2 * (source.average_rate or FALLBACK_RATE)))
        self._frames: Generator[Frame] = reader.frames()
        self._next = next(self._frames, None)
        self._origin = self._next.pts if self._next is not None else 0
        self._number = 0

    def at(self, number: int, time_s: float) -> View | None:
        """Return the frame of this number or, in videos, of this time; None: there is none."""
        while self._next is not None:
            frame = self._next
            own_s = float((frame.pts - self._origin) * self._tick_s)
            late = self._number - number if self._in_order else own_s - time_s
            if late > (0 if self._in_order else self._tolerance_s):
                return None
            self._next = next(self._frames, None)
            self._number += 1
            if late >= (0 if self._in_order else -self._tolerance_s):
                return View(frame, frame.info or self._info)
        return None

    def close(self) -> None:
        self._frames.close()


class _Choice:
    """Chooses the frames to show, of a video whose length is not known before its end."""

    def __init__(self, at_s: list[float]) -> None:
        self._wanted_s = at_s
        self._asked: list[Shot] = []
        self._even: list[Shot] = []
        self._stride = 1
        self._changed: list[Shot] = []

    def offer(self, pair: Pair, time_s: float, change: float) -> None:
        """Look at the next pair; it is kept, or forgotten."""
        shot = Shot(pair, time_s, change, "")
        if self._wanted_s and time_s >= self._wanted_s[0]:
            self._asked.append(Shot(pair, time_s, change, "asked for"))
            while self._wanted_s and time_s >= self._wanted_s[0]:
                self._wanted_s.pop(0)
        if pair.number % self._stride == 0:
            self._even.append(shot)
            if len(self._even) > 2 * EVEN_SHOTS:
                self._even = self._even[::2]
                self._stride *= 2
        self._keep_if_changed(shot)

    def shots(self) -> list[Shot]:
        """Return the frames to show in the order of time, none twice."""
        places = np.linspace(0, len(self._even) - 1, min(EVEN_SHOTS, len(self._even)))
        chosen = {shot.pair.number: shot for shot in (self._even[round(at)] for at in places)}
        for number, shot in enumerate(sorted(self._changed, key=_by_change)):
            why = "most changed" if not number else "much changed"
            chosen[shot.pair.number] = Shot(shot.pair, shot.time_s, shot.change, why)
        chosen |= {shot.pair.number: shot for shot in self._asked[:MOST_SHOTS]}
        return [chosen[number] for number in sorted(chosen)]

    def _keep_if_changed(self, shot: Shot) -> None:
        near = [kept for kept in self._changed if shot.time_s - kept.time_s < CHANGED_APART_S]
        if not shot.change:
            return
        rivals = near or (self._changed if len(self._changed) == CHANGED_SHOTS else [])
        if rivals:
            weakest = max(rivals, key=_by_change)
            if weakest.change >= shot.change:
                return
            self._changed.remove(weakest)
        self._changed.append(shot)


def _by_change(shot: Shot) -> float:
    return -shot.change
