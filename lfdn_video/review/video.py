"""A video that shows source and result at once, labelled, at the source's times.

    split   the left half of the source, the right half of the result
    side    both whole, side by side
    wipe    a line between the two that moves to and fro
    diff    the result minus the source, enlarged, around mid-grey

It is made from the finished result, so it shows what is in the file, encoding included.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import cache
from math import pi, sin
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

import av
import numpy as np
from av.error import FFmpegError
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from PIL import Image as Pictures
from PIL import ImageDraw, ImageFont

from lfdn_video.errors import OptionError, OutputError
from lfdn_video.ffmpeg import ffmpeg_message
from lfdn_video.files import Inputs, check_target, write_beside
from lfdn_video.media import FALLBACK_RATE, RANGE_LIMITED, Image, VideoInfo
from lfdn_video.options import Layout, SpanOptions
from lfdn_video.review.pairs import Codes, OnFrame, Pair, Pairs, open_pairs

SUFFIX = ".compare.mp4"
CODEC, QUALITY = "libx264", {"crf": "18", "preset": "fast"}
MATRIX_BT709 = 1
BLACK, WHITE, MID_GREY = 0, 255, 128
DIFFERENCE_GAIN = 4
WIPE_PERIOD_S = 6.0
WIPE_MARGIN = 0.04
"""Share of the width on each side that the line does not reach."""

LABEL_SHARE, LEAST_LABEL_PX = 24, 11
"""Height of the letters: this part of the picture's, and at least so much."""

BEFORE, AFTER, DIFFERENCE = "source", "result", f"result - source, x{DIFFERENCE_GAIN}"


def name_comparison(target: Path) -> Path:
    """Return the name of the comparison video of a result: `out.compare.mp4` for `out.mp4`."""
    return target.with_name(target.stem + SUFFIX)


def write_comparison(
    source: str | Path,
    result: str | Path,
    target: str | Path,
    layout: Layout,
    *,
    span: SpanOptions | None = None,
    deinterlace: bool = False,
    overwrite: bool = False,
    on_frame: OnFrame | None = None,
) -> int:
    """Write a comparison video: H.264 in MP4, without audio.

    Args:
        source: the source of a run: a video, or images.
        result: the video that the run wrote.
        target: the MP4 file to write.
        layout: how the two are shown.
        span: the part of the source that was restored; None: all of it.
        deinterlace: the source was deinterlaced.
        overwrite: replace a file that exists.
        on_frame: called after each frame, as by `compare`.

    Returns:
        The number of its frames.

    Raises:
        InputError: source or result cannot be read.
        OptionError: there is no such layout.
        OutputError: the target cannot be written.
    """
    if layout not in LAYOUTS:
        raise OptionError(f"layout: {layout!r} is none of {', '.join(LAYOUTS)}")
    target = Path(target)
    inputs = Inputs([Path(source), Path(result)])
    check_target(target, inputs, overwrite=overwrite)
    with (
        open_pairs(source, result, span, deinterlace=deinterlace, on_frame=on_frame) as pairs,
        write_beside(target, overwrite=overwrite) as temporary,
    ):
        try:
            return _encode(pairs, temporary, LAYOUTS[layout])
        except FFmpegError as error:
            raise OutputError(f"{target}: cannot be written: {ffmpeg_message(error)}") from error


def _encode(pairs: Pairs, temporary: Path, draw: Callable[[Pair], Image]) -> int:
    """Draw and encode every pair. Returns their number."""
    frames = 0
    with av.open(str(temporary), "w", format="mp4") as container:
        stream: VideoStream | None = None
        for pair in pairs:
            picture = _make_even(draw(pair))
            if stream is None:
                stream = cast("VideoStream", container.add_stream(CODEC, FALLBACK_RATE))
                _configure(stream, pairs.before, picture)
                origin = pair.before.frame.pts
            frame = VideoFrame.from_ndarray(picture, format="rgb24").reformat(
                format="yuv420p", dst_colorspace=MATRIX_BT709, dst_color_range=RANGE_LIMITED
            )
            frame.pts = pair.before.frame.pts - origin
            frame.time_base = pairs.before.time_base
            container.mux(stream.encode(frame))
            frames += 1
        assert stream is not None
        container.mux(stream.encode(None))
    return frames


def _configure(stream: VideoStream, info: VideoInfo, picture: Image) -> None:
    context = stream.codec_context
    context.height, context.width = picture.shape[:2]
    context.pix_fmt = "yuv420p"
    context.framerate = info.average_rate or FALLBACK_RATE
    stream.time_base = context.time_base = info.time_base
    aspect = info.sample_aspect_ratio or Fraction(1)
    context.sample_aspect_ratio = 1 / aspect if info.rotation % 180 else aspect
    context.colorspace = context.color_primaries = context.color_trc = MATRIX_BT709
    context.color_range = RANGE_LIMITED
    context.options = dict(QUALITY)


def _draw_split(pair: Pair) -> Image:
    return _draw_line_at(pair, 0.5)


def _draw_wipe(pair: Pair) -> Image:
    swing = 0.5 - WIPE_MARGIN
    return _draw_line_at(pair, 0.5 + swing * sin(2 * pi * pair.time_s / WIPE_PERIOD_S))


def _draw_line_at(pair: Pair, share: float) -> Image:
    before, after = pair.before.image(), pair.after.image()
    height, width = after.shape[:2]
    column = round(share * width)
    after[:, :column] = before[:, :column]
    _draw_line(after, column)
    margin = _margin_px(height)
    # Each label stays on its own side of the line.
    left, right = after[:, :column], after[:, column:]
    _draw_label(left, BEFORE, margin)
    _draw_label(right, AFTER, -margin)
    return after


def _draw_side(pair: Pair) -> Image:
    before, after = pair.before.image(), pair.after.image()
    margin = _margin_px(before.shape[0])
    _draw_label(before, BEFORE, margin)
    _draw_label(after, AFTER, margin)
    return np.concatenate([before, after], axis=1)


def _draw_diff(pair: Pair) -> Image:
    change = pair.after.image().astype(np.int16) - pair.before.image()
    drawn = (change * DIFFERENCE_GAIN + MID_GREY).clip(BLACK, WHITE).astype(np.uint8)
    _draw_label(drawn, DIFFERENCE, _margin_px(drawn.shape[0]))
    return drawn


LAYOUTS: Mapping[Layout, Callable[[Pair], Image]] = MappingProxyType(
    {"split": _draw_split, "side": _draw_side, "wipe": _draw_wipe, "diff": _draw_diff}
)


def _draw_line(picture: Image, column: int) -> None:
    half = max(1, picture.shape[1] // 640)
    picture[:, max(0, column - half) : column + half] = WHITE


def _margin_px(height: int) -> int:
    return max(2, height // 40)


def _draw_label(picture: Image, text: str, left_px: int) -> None:
    """Draw a label at the top; a negative distance counts from the right. No room: no label."""
    label = _render_label(text, max(LEAST_LABEL_PX, picture.shape[0] // LABEL_SHARE))
    height, width = label.shape
    top = abs(left_px)
    left = left_px if left_px >= 0 else picture.shape[1] - width + left_px
    if left < 0 or left + width > picture.shape[1] or top + height > picture.shape[0]:
        return
    place = picture[top : top + height, left : left + width]
    # A dark plate under white letters can be read on any picture.
    dimmed = place * np.float32(0.35)
    place[:] = (dimmed + (WHITE - dimmed) * label[:, :, None]).astype(np.uint8)


@cache
def _render_label(text: str, letters_px: int) -> Codes:
    """Render white letters, 0…1, on a plate that is a little larger."""
    font: Any = ImageFont.load_default(letters_px)
    left, top, right, bottom = (round(side) for side in font.getbbox(text))
    pad = letters_px // 3
    plate = Pictures.new("L", (right - left + 2 * pad, bottom - top + 2 * pad))
    ImageDraw.Draw(plate).text((pad - left, pad - top), text, fill=WHITE, font=font)
    return np.divide(np.asarray(plate, np.float32), np.float32(WHITE))


def _make_even(picture: Image) -> Image:
    """Repeat the last row or column where H.264's chroma needs an even size."""
    height, width = picture.shape[:2]
    if height % 2 == 0 and width % 2 == 0:
        return np.ascontiguousarray(picture)
    return np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
