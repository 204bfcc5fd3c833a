"""XPSNR, the PSNR weighted by what people see, as FFmpeg's filter of that name computes it."""

from __future__ import annotations

from fractions import Fraction
from types import TracebackType
from typing import Self

from av.error import FFmpegError
from av.filter import Graph
from av.filter.context import FilterContext
from av.filter.filter import filters_available

from lfdn_video.media import FALLBACK_RATE, VideoInfo
from lfdn_video.planes import Converter, PixelEncoding, build_video_frame
from lfdn_video.review.pairs import Pair

FILTER = "xpsnr"
KEY = "lavfi.xpsnr.xpsnr.y"


class Xpsnr:
    """Measures frame after frame; the measure depends on the frames before, so leave none out.

    Args:
        before: the reference.
        after: what is measured; its frames are converted to the reference's pixel format.
    """

    def __init__(self, before: VideoInfo, after: VideoInfo) -> None:
        self._inputs: tuple[FilterContext, FilterContext] | None = None
        self._converter: Converter | None = None
        same_way_up = (before.rotation, before.flip) == (after.rotation, after.flip)
        if FILTER not in filters_available or before.format.family != "yuv" or not same_way_up:
            return
        one, other = PixelEncoding.from_format(before), PixelEncoding.from_format(after)
        self._converter = Converter(other, one) if one != other else None
        self._open(before)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        self._inputs = None

    def measure(self, pair: Pair) -> float | None:
        """Measure the luma of the next pair.

        Args:
            pair: the pair that follows the last one.

        Returns:
            dB, `inf` where both are equal; None if FFmpeg here cannot measure these frames.
        """
        if self._inputs is None:
            return None
        frames = [build_video_frame(view.frame) for view in (pair.before, pair.after)]
        if self._converter is not None:
            frames[1] = self._converter.convert_frame(frames[1])
        try:
            for context, frame in zip(self._inputs, frames, strict=True):
                frame.pts, frame.time_base = pair.number, self._tick_s
                context.push(frame)
            measured = self._sink.pull()
        except FFmpegError:  # such as frames whose size changes
            self._inputs = None
            return None
        value = getattr(measured, "metadata", {}).get(KEY)
        return None if value is None else float(value)

    def _open(self, info: VideoInfo) -> None:
        rate = info.average_rate or FALLBACK_RATE
        self._tick_s = Fraction(1) / rate
        graph = Graph()
        settings = (
            f"video_size={info.width}x{info.height}:pix_fmt={info.format.name}"
            f":time_base={self._tick_s}:frame_rate={rate}"
        )
        try:
            one, other = (graph.add("buffer", settings) for _ in range(2))
            compared = graph.add(FILTER)
            self._sink = graph.add("buffersink")
            one.link_to(compared, 0, 0)
            other.link_to(compared, 0, 1)
            compared.link_to(self._sink)
            graph.configure()
        except (FFmpegError, ValueError):  # a pixel format that the filter does not know
            return
        self._graph = graph  # it owns the filters
        self._inputs = (one, other)
