"""Interlaced frames to whole ones, by FFmpeg's `bwdif`: a frame for a frame, at its time."""

from collections import deque
from typing import Generic, TypeVar

from av.error import BlockingIOError as NotYetError
from av.error import EOFError as NoMoreError
from av.filter import Graph
from av.video.frame import VideoFrame

from lfdn_video.media import VideoInfo

T = TypeVar("T")


class Deinterlacer(Generic[T]):
    """One frame behind, as the filter looks at the next one too. `flush` gives what it holds.

    Frames that are not marked as interlaced stay as they are, in a video that has such marks at
    all. With each frame goes something of the caller's.
    """

    def __init__(self, info: VideoInfo) -> None:
        self._which = "interlaced" if info.interlaced else "all"
        self._time_base = info.time_base
        self._graph: Graph | None = None
        self._held: deque[T] = deque()

    def push(self, frame: VideoFrame, of_it: T) -> list[tuple[VideoFrame, T]]:
        """All frames have one size and format."""
        if self._graph is None:
            self._graph = self._new_graph(frame)
        frame.pts, frame.time_base = len(self._held), self._time_base  # the filter wants any
        self._held.append(of_it)
        self._graph.push(frame)
        return self._ready(self._graph)

    def flush(self) -> list[tuple[VideoFrame, T]]:
        """The rest; what comes after it has nothing to do with it."""
        if self._graph is None:
            return []
        graph, self._graph = self._graph, None
        graph.push(None)
        return self._ready(graph)

    def _new_graph(self, frame: VideoFrame) -> Graph:
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

    def _ready(self, graph: Graph) -> list[tuple[VideoFrame, T]]:
        ready = []
        while self._held:
            try:
                frame = graph.pull()
            except (NotYetError, NoMoreError):
                break
            assert isinstance(frame, VideoFrame)
            ready.append((frame, self._held.popleft()))
        return ready
