"""The restored stream on a pipe, as another program reads it back."""

from __future__ import annotations

import io
import os
import sys
import threading
from dataclasses import replace
from typing import Literal

import av
import numpy as np
import pytest

from lfdn_video.inference.colour import PlaneConverter
from lfdn_video.media import Frame, VideoInfo
from lfdn_video.stream.sinks.pipe import Pipe
from tests.support.fakes import noise_frames, video_info

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="pipes work differently there")


def frames(count: int, info: VideoInfo) -> list[Frame]:
    return [replace(frame, info=info) for frame in noise_frames(info, count)]


def write_through_pipe(kind: Literal["y4m", "raw"], *written: Frame) -> bytes:
    reading, writing = os.pipe()
    content = io.BytesIO()

    def read() -> None:
        with os.fdopen(reading, "rb") as file:
            content.write(file.read())

    reader = threading.Thread(target=read)
    reader.start()
    with Pipe(writing, kind) as pipe:
        for frame in written:
            pipe.write_frame(frame, 0.0, 0.0)
    os.close(writing)
    reader.join()
    return content.getvalue()


@pytest.mark.parametrize("name", ["yuv420p", "yuv422p", "yuv444p", "gray"])
def test_y4m_keeps_the_planes_unchanged(name: str) -> None:
    written = frames(3, video_info(name))
    with av.open(io.BytesIO(write_through_pipe("y4m", *written)), "r") as container:
        read = [frame.to_ndarray() for frame in container.decode(video=0)]
    for frame, found in zip(written, read, strict=True):
        whole = b"".join(plane.tobytes() for plane in frame.planes)
        assert found.tobytes() == whole


def test_y4m_converts_other_formats_to_yuv420p() -> None:
    (frame,) = frames(1, video_info("gbrp", height=32, width=64))
    with av.open(io.BytesIO(write_through_pipe("y4m", frame)), "r") as container:
        (found,) = container.decode(video=0)
    assert (found.format.name, found.width, found.height) == ("yuv420p", 64, 32)


def test_raw_is_upright_rgb() -> None:
    info = video_info(rotation=90)
    (frame,) = frames(1, info)
    content = np.frombuffer(write_through_pipe("raw", frame), np.uint8).reshape(64, 48, 3)
    assert np.array_equal(content, PlaneConverter(info).to_image(frame.planes))


@pytest.mark.parametrize("kind", ["y4m", "raw"])
def test_later_frames_are_scaled_to_the_size_of_the_first(kind: Literal["y4m", "raw"]) -> None:
    first, later = frames(1, video_info())[0], frames(1, video_info(height=96, width=96))[0]
    once, twice, thrice = (
        len(write_through_pipe(kind, first, *[later] * more)) for more in range(3)
    )
    assert thrice - twice == twice - once >= 64 * 48


def test_reader_that_is_gone_raises_broken_pipe() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with pytest.raises(BrokenPipeError), Pipe(writing, "raw") as pipe:
        pipe.write_frame(frames(1, video_info())[0], 0.0, 0.0)
    os.close(writing)


def test_stopped_pipe_does_not_wait_for_a_reader_that_reads_nothing() -> None:
    reading, writing = os.pipe()
    with Pipe(writing, "raw", stopped=lambda: True) as pipe:
        for frame in frames(30, video_info(height=96, width=96)):
            pipe.write_frame(frame, 0.0, 0.0)
    os.close(writing)
    os.close(reading)
