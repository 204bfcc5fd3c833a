"""Pictures as a camera's frames: 8-bit YUV 4:2:0, also as H.264 leaves them."""

import io
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import av
import cv2
import numpy as np
from av.video.stream import VideoStream

from benchmarks.scenes.views import Picture
from lfdn_video.media import Colour, Frame, FrameFormat, PixelFormat, Plane
from lfdn_video.planes import build_video_frame, extract_planes

cv: Any = cv2
"""OpenCV, whose types do not tell the type of a sample."""

BT601_LIMITED = Colour(matrix=6, range=1)
"""Luma of these frames is the Y of MATLAB's rgb2ycbcr."""

FORMAT = PixelFormat.parse("yuv420p")

TO_YUV = np.array(
    [[65.481, 128.553, 24.966], [-37.797, -74.203, 112.0], [112.0, -93.786, -18.214]], np.float32
) / np.float32(255)

GOP = 8
"""Frames from one keyframe to the next: their quality differs, and the picture pulses."""


def describe(size: tuple[int, int]) -> FrameFormat:
    """Tell how frames of a size are stored, height and width in px."""
    return FrameFormat(width=size[1], height=size[0], format=FORMAT, colour=BT601_LIMITED)


def to_luma(picture: Picture) -> Picture:
    """Return Y of a picture, not rounded, `[H, W]`."""
    luma: Picture = cv.transform(picture, TO_YUV[:1]) + np.float32(16)
    return luma


def to_frames(pictures: Sequence[Picture]) -> list[Frame]:
    """Round pictures with even sides to frames."""
    frames = []
    for pts, picture in enumerate(pictures):
        yuv = cv.transform(picture.clip(0, 255), TO_YUV) + np.array((16, 128, 128), np.float32)
        half = cv.resize(yuv[..., 1:], None, fx=0.5, fy=0.5, interpolation=cv.INTER_AREA)
        planes = (yuv[..., 0], half[..., 0], half[..., 1])
        frames.append(Frame(tuple(_round(plane) for plane in planes), FORMAT, pts))
    return frames


def compress(frames: Sequence[Frame], crf: int = 32) -> list[Frame]:
    """Encode frames as H.264 and decode them again.

    Args:
        frames: of one size.
        crf: x264's constant rate factor.
    """
    file = io.BytesIO()
    rate = Fraction(25)
    with av.open(file, "w", format="mp4") as container:
        options = {"crf": str(crf), "g": str(GOP), "threads": "1"}
        stream = container.add_stream("libx264", rate, options=options)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = frames[0].width, frames[0].height, "yuv420p"
        for number, frame in enumerate(frames):
            video = build_video_frame(frame)
            video.pts, video.time_base = number, 1 / rate
            container.mux(stream.encode(video))
        container.mux(stream.encode(None))
    file.seek(0)
    with av.open(file, "r") as reader:
        decoded = list(reader.decode(video=0))
    return [Frame(extract_planes(each, FORMAT), FORMAT, pts) for pts, each in enumerate(decoded)]


def _round(plane: Any) -> Plane:
    rounded: Plane = np.rint(plane).clip(0, 255).astype(np.uint8)
    return rounded
