"""A camera that sends MPEG-TS over TCP in real time, and misbehaves if it is told to."""

import io
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from fractions import Fraction
from typing import Literal, Self

import av
import numpy as np
from av.video.stream import VideoStream

Fault = Literal["none", "hangs", "disconnects"]

CLIP_S = 4


def make_clip(*, size: tuple[int, int], rate: int, seed: int = 0) -> bytes:
    """Draw bars that move over noise, as MPEG-TS with H.264; it can be repeated."""
    width, height = size
    random = np.random.default_rng(seed)
    ground = random.integers(60, 120, (height, width, 3), np.uint8)
    file = io.BytesIO()
    with av.open(file, "w", format="mpegts") as container:
        stream = container.add_stream("libx264", rate)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.options = {"tune": "zerolatency", "preset": "ultrafast", "g": str(rate)}
        for number in range(CLIP_S * rate):
            image = ground.copy()
            left = number * 5 % (width - 12)
            image[:, left : left + 12] = 230
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    return file.getvalue()


class TcpCamera:
    """A camera at `address`. A context manager.

    Args:
        clip: what it sends, again and again.
        rate: frames per second.
        fault: `hangs`: every other connection sends nothing at all, the others stop after
            `after_s`, and all stay open; `disconnects`: each is closed after `after_s`.
        after_s: seconds until the fault.
    """

    def __init__(
        self, clip: bytes, rate: int, fault: Fault = "none", after_s: float = 20.0
    ) -> None:
        self._clip = clip
        self._rate = rate
        self._fault = fault
        self._after_s = after_s
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._ended = threading.Event()
        self.connections = 0
        self._thread = threading.Thread(target=self._accept, name="tcp camera", daemon=True)

    @property
    def address(self) -> str:
        return f"tcp://127.0.0.1:{self._listening.getsockname()[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join()

    def _accept(self) -> None:
        with suppress(OSError):
            while not self._ended.is_set():
                connection, _ = self._listening.accept()
                self.connections += 1
                threading.Thread(
                    target=self._serve, args=(connection, self.connections), daemon=True
                ).start()

    def _serve(self, connection: socket.socket, number: int) -> None:
        silent = self._fault == "hangs" and number % 2 == 0
        end_s = float("inf") if self._fault == "none" else time.monotonic() + self._after_s
        with connection, suppress(OSError, av.FFmpegError):  # of a client that leaves
            if not silent:
                self._send(connection, lambda: self._ended.is_set() or time.monotonic() >= end_s)
            if self._fault == "hangs":
                while not self._ended.is_set() and connection.recv(1):  # until the client leaves
                    pass

    def _send(self, connection: socket.socket, is_over: Callable[[], bool]) -> None:
        with connection.makefile("wb") as out, av.open(out, "w", format="mpegts") as target:
            start_s = time.monotonic()
            sent = 0
            stream: VideoStream | None = None
            while True:
                with av.open(io.BytesIO(self._clip), "r") as source:
                    video = source.streams.video[0]
                    if stream is None:
                        stream = target.add_stream_from_template(video)
                    for packet in source.demux(video):
                        if packet.dts is None:
                            continue
                        if is_over():
                            return
                        time.sleep(max(0.0, start_s + sent / self._rate - time.monotonic()))
                        packet.pts = packet.dts = round(90_000 * sent / self._rate)
                        packet.time_base = Fraction(1, 90_000)
                        packet.stream = stream
                        target.mux(packet)
                        out.flush()
                        sent += 1
