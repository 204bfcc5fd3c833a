"""Writes the restored stream to a pipe, for another program: YUV4MPEG2 or raw RGB.

Neither format has timestamps: each restored frame is written once, when it is ready. All frames are
upright and have the size of the first. A slow reader slows the session down, which then drops
frames for newer ones as usual; if the reader exits, writing raises BrokenPipeError.
"""

import os
import select
import sys
from collections.abc import Callable
from fractions import Fraction
from typing import Literal, Self

import numpy as np
from av.video.frame import VideoFrame

from lfdn_video.media import FALLBACK_RATE, Frame, FrameFormat, Image, Plane
from lfdn_video.planes import Converter, PixelEncoding, extract_planes, working_format
from lfdn_video.stream.wire import AudioHeader, AudioPacket

PipeFormat = Literal["y4m", "raw"]

Y4M_CHROMA = {"yuv420p": "420mpeg2", "yuv422p": "422", "yuv444p": "444", "gray": "mono"}
"""YUV4MPEG2's names of the pixel formats that it stores."""
Y4M_DEFAULT = "yuv420p"
"""Pixel format that all others are converted to."""

STOP_POLL_S = 0.25
"""Interval, in seconds, at which `stopped` is called while the reader is slow."""


class Pipe:
    """A sink that writes to a file descriptor. A context manager; the descriptor stays open."""

    def __init__(
        self,
        descriptor: int,
        pipe_format: PipeFormat,
        *,
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        """Write to an open descriptor.

        Args:
            descriptor: the writing end; non-blocking inside the context.
            pipe_format: `y4m` for YUV4MPEG2, `raw` for bare RGB frames, `[H, W, 3]` bytes each.
            stopped: called while waiting for the reader; True drops the rest of the frame.
        """
        self._descriptor = descriptor
        self._pipe_format = pipe_format
        self._stopped = stopped
        self._size: tuple[int, int] | None = None
        """Width and height of all frames, in px; None before the first."""
        self._y4m_format = Y4M_DEFAULT

    def __enter__(self) -> Self:
        self._was_blocking = os.get_blocking(self._descriptor) if sys.platform != "win32" else True
        if sys.platform != "win32":
            os.set_blocking(self._descriptor, False)
        return self

    def __exit__(self, *_: object) -> None:
        if sys.platform != "win32":
            os.set_blocking(self._descriptor, self._was_blocking)

    def add_audio(self, message: AudioHeader | AudioPacket) -> None:
        """Ignore audio: the formats cannot hold it."""

    def write_frame(self, frame: Frame, stamp_s: float, captured_at: float) -> None:  # noqa: ARG002
        """Write a frame, and before the first one a header.

        Args:
            frame: a restored frame; its `info` is set.
            stamp_s: its time of capture; not used.
            captured_at: likewise.

        Raises:
            BrokenPipeError: the reader is gone.
        """
        assert frame.info is not None
        if self._size is None:
            self._start_stream(frame.info)
        planes = self._convert_frame(frame)
        if self._pipe_format == "y4m":
            self._write_all(b"FRAME\n")
        for plane in planes:
            self._write_all(np.ascontiguousarray(plane).data.cast("B"))

    def _start_stream(self, info: FrameFormat) -> None:
        """Fix size and format by the first frame, and write the header of YUV4MPEG2."""
        is_sideways = info.rotation in (90, 270)
        width, height = (info.height, info.width) if is_sideways else (info.width, info.height)
        self._size = width, height
        if self._pipe_format == "raw":
            return
        unchanged = info.format.name in Y4M_CHROMA and not info.rotation and not info.flip
        self._y4m_format = info.format.name if unchanged else Y4M_DEFAULT
        rate = (info.average_rate or FALLBACK_RATE).limit_denominator(1001)
        aspect_ratio = info.sample_aspect_ratio if not is_sideways else 1 / info.sample_aspect_ratio
        words = ["YUV4MPEG2", f"W{width}", f"H{height}", f"F{_ratio(rate)}", "Ip"]
        words += [f"A{_ratio(aspect_ratio)}", f"C{Y4M_CHROMA[self._y4m_format]}"]
        if unchanged and info.colour.is_full_range(info.format):
            words.append("XCOLORRANGE=FULL")
        self._write_all(" ".join(words).encode() + b"\n")

    def _convert_frame(self, frame: Frame) -> tuple[Plane | Image, ...]:
        """Convert a frame to the stream's format and size."""
        from lfdn_video.inference.colour import PlaneConverter

        info = frame.info
        assert info is not None
        assert self._size is not None
        is_raw = self._pipe_format == "raw"
        if not is_raw and frame.format.name == self._y4m_format and self._fits(frame):
            return frame.planes
        image = PlaneConverter(info).to_image(frame.planes)
        if is_raw and (image.shape[1], image.shape[0]) == self._size:
            return (image,)
        matrix = info.colour.resolved_matrix(info.height, info.width)
        source = PixelEncoding("rgb24", matrix, True)
        target = PixelEncoding("rgb24" if is_raw else self._y4m_format, matrix, is_raw)
        video = Converter(source, target).convert_frame(
            VideoFrame.from_ndarray(image, format=source.name),
            width=self._size[0],
            height=self._size[1],
        )
        return (
            (video.to_ndarray(),) if is_raw else extract_planes(video, working_format(target.name))
        )

    def _fits(self, frame: Frame) -> bool:
        """Return True if a frame is upright and has the stream's size."""
        info = frame.info
        upright = info is not None and not info.rotation and not info.flip
        return upright and (frame.width, frame.height) == self._size

    def _write_all(self, content: bytes | memoryview) -> None:
        """Write all of `content`, however slow the reader is, unless the session is stopped."""
        view = memoryview(content)
        # Never a blocking write: a reader that stops reading would keep the session from ending.
        while len(view) and not self._stopped():
            if sys.platform != "win32":
                _, ready, _ = select.select([], [self._descriptor], [], STOP_POLL_S)
                if not ready:
                    continue
            try:
                view = view[os.write(self._descriptor, view) :]
            except BlockingIOError:
                continue


def _ratio(value: Fraction) -> str:
    return f"{value.numerator}:{value.denominator}"
