"""The restored stream on a pipe, for a program that reads it: YUV4MPEG2, or bare RGB.

Neither has times: a frame is written when it is restored, as many as there are. A reader that is
slow slows down the network, and newer frames are dropped for it as for everything else; one that is
gone is a BrokenPipeError. Every frame is upright and as large as the first one.
"""

import os
import select
import sys
from collections.abc import Callable
from fractions import Fraction
from types import TracebackType
from typing import Literal, Self

import numpy as np
from av.video.frame import VideoFrame

from lfdn_video.media import FALLBACK_RATE, Frame, Image, Plane, VideoInfo
from lfdn_video.planes import Coding, Converter, planes_of, working_format
from lfdn_video.stream.wire import AudioHeader, AudioPacket

Format = Literal["y4m", "raw"]

CHROMA = {"yuv420p": "420mpeg2", "yuv422p": "422", "yuv444p": "444", "gray": "mono"}
"""Formats that YUV4MPEG2 takes as they are, by its names; others become the first."""

POLL_S = 0.25
"""Between two looks at whether the session was stopped, while the reader takes nothing."""


class Pipe:
    """A sink of a session. `stopped` is asked while a reader is waited for."""

    def __init__(
        self, descriptor: int, kind: Format, *, stopped: Callable[[], bool] = lambda: False
    ) -> None:
        self._descriptor, self._kind, self._stopped = descriptor, kind, stopped
        self._size: tuple[int, int] | None = None
        self._name = next(iter(CHROMA))

    def __enter__(self) -> Self:
        self._blocks = os.get_blocking(self._descriptor) if sys.platform != "win32" else True
        if sys.platform != "win32":
            os.set_blocking(self._descriptor, False)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if sys.platform != "win32":
            os.set_blocking(self._descriptor, self._blocks)

    def add_audio(self, message: AudioHeader | AudioPacket) -> None:
        """There is no place for it."""

    def write(self, frame: Frame, stamp_s: float, captured_at: float) -> None:  # noqa: ARG002
        assert frame.info is not None
        if self._size is None:
            self._begin(frame.info)
        planes = self._planes(frame)
        if self._kind == "y4m":
            self._put(b"FRAME\n")
        for plane in planes:
            self._put(np.ascontiguousarray(plane).data.cast("B"))

    def _begin(self, info: VideoInfo) -> None:
        turned = info.rotation in (90, 270)
        width, height = (info.height, info.width) if turned else (info.width, info.height)
        self._size = width, height
        if self._kind == "raw":
            return
        plain = info.format.name in CHROMA and not info.rotation and not info.flip
        self._name = info.format.name if plain else next(iter(CHROMA))
        rate = (info.average_rate or FALLBACK_RATE).limit_denominator(1001)
        shape = info.sample_aspect_ratio if not turned else 1 / info.sample_aspect_ratio
        words = ["YUV4MPEG2", f"W{width}", f"H{height}", f"F{_ratio(rate)}", "Ip"]
        words += [f"A{_ratio(shape)}", f"C{CHROMA[self._name]}"]
        if plain and info.colour.is_full_range(info.format):
            words.append("XCOLORRANGE=FULL")
        self._put(" ".join(words).encode() + b"\n")

    def _planes(self, frame: Frame) -> tuple[Plane | Image, ...]:
        from lfdn_video.inference.colour import PlaneConverter

        info = frame.info
        assert info is not None
        assert self._size is not None
        if self._kind == "y4m" and frame.format.name == self._name and self._fits(frame):
            return frame.planes
        image = PlaneConverter(info).to_image(frame.planes)
        if self._kind == "raw" and (image.shape[1], image.shape[0]) == self._size:
            return (image,)
        matrix = info.colour.resolved_matrix(info.height, info.width)
        full = self._kind == "raw"
        here = Coding("rgb24", matrix, True)
        there = Coding("rgb24" if full else self._name, matrix, full)
        video = Converter(here, there).convert(
            VideoFrame.from_ndarray(image, format=here.name),
            width=self._size[0],
            height=self._size[1],
        )
        return (video.to_ndarray(),) if full else planes_of(video, working_format(there.name))

    def _fits(self, frame: Frame) -> bool:
        info = frame.info
        upright = info is not None and not info.rotation and not info.flip
        return upright and (frame.width, frame.height) == self._size

    def _put(self, content: bytes | memoryview) -> None:
        view = memoryview(content)
        while len(view) and not self._stopped():
            if sys.platform != "win32":
                _, ready, _ = select.select([], [self._descriptor], [], POLL_S)
                if not ready:
                    continue
            try:
                view = view[os.write(self._descriptor, view) :]
            except BlockingIOError:
                continue


def _ratio(value: Fraction) -> str:
    return f"{value.numerator}:{value.denominator}"
