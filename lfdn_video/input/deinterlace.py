"""Deinterlacing by FFmpeg's `bwdif`: one frame out for each frame in, with the same pts."""

from collections import deque
from fractions import Fraction
from typing import Generic, TypeVar

from av.error import BlockingIOError as NotYetError
from av.error import EOFError as NoMoreError
from av.filter import Graph
from av.video.frame import VideoFrame

T = TypeVar("T")


class Deinterlacer(Generic[T]):
    """Deinterlaces frames in order, one frame behind, because the filter needs the next one too.

    Each frame travels with a value of the caller's, such as its timestamps.

    Args:
        time_base: any, in seconds; the filter requires one but does not use it.
        only_marked: deinterlace only frames that are marked as interlaced; otherwise all, for
            sources without the marks.
    """

    def __init__(self, time_base: Fraction, *, only_marked: bool) -> None:
        self._which = "interlaced" if only_marked else "all"
        self._time_base = time_base
        self._graph: Graph | None = None
        self._pending: deque[T] = deque()

    def push(self, frame: VideoFrame, value: T) -> list[tuple[VideoFrame, T]]:
        """Push the next frame; all must have the same size and pixel format.

        Args:
            frame: a decoded frame; its pts and time base are overwritten.
            value: returned together with the frame.

        Returns:
            The frames that are ready, each with its value.
        """
        if self._graph is None:
            self._graph = self._build_graph(frame)
        frame.pts = len(self._pending)  # any will do: the value carries the real timestamps
        frame.time_base = self._time_base
        self._pending.append(value)
        self._graph.push(frame)
        return self._pull_ready(self._graph)

    def flush(self) -> list[tuple[VideoFrame, T]]:
        """Return the frames still held; the next push starts a new filter."""
        if self._graph is None:
            return []
        graph = self._graph
        self._graph = None
        graph.push(None)
        return self._pull_ready(graph)

    def _build_graph(self, frame: VideoFrame) -> Graph:
        graph = Graph()
        source = graph.add_buffer(
            width=frame.width,
            height=frame.height,
            format=frame.format,
            time_base=self._time_base,
        )
        graph.link_nodes(
            source,
            graph.add("bwdif", f"mode=send_frame:deint={self._which}"),
            graph.add("format", f"pix_fmts={frame.format.name}"),
            graph.add("buffersink"),
        ).configure()
        return graph

    def _pull_ready(self, graph: Graph) -> list[tuple[VideoFrame, T]]:
        ready = []
        while self._pending:
            try:
                frame = graph.pull()
            except (NotYetError, NoMoreError):
                break
            assert isinstance(frame, VideoFrame)
            ready.append((frame, self._pending.popleft()))
        return ready
