"""Frames whose size or pixel format changes within a stream, converted to those of the first."""

from av.video.frame import VideoFrame

from lfdn_video.frame_io import Warnings
from lfdn_video.media import Colour, FrameFormat, VideoInfo
from lfdn_video.planes import Converter, PixelEncoding, read_colour, working_format


class FormatUnifier:
    """Converts the frames of a stream that differ from its first frame.

    Args:
        info: the stream, described by its first frame.
        warnings: gets a warning, once, when a frame differs.
    """

    def __init__(self, info: VideoInfo, warnings: Warnings) -> None:
        self._info = info
        self._warnings = warnings
        self._converters: dict[tuple[str, Colour], Converter] = {}

    def unify(self, video: VideoFrame) -> VideoFrame:
        """Return `video` itself if it is like the first frame, else a converted and scaled copy."""
        info = self._info
        size_and_format = (video.width, video.height, video.format.name)
        if size_and_format == (info.width, info.height, info.source_format):
            return video
        self._warnings.add(
            info.path,
            f"changes to {video.width}x{video.height} {video.format.name} on the way; such frames "
            f"are converted to {info.width}x{info.height} {info.format.name} like the first",
        )
        return self._converter(video).convert_frame(video, width=info.width, height=info.height)

    def _converter(self, video: VideoFrame) -> Converter:
        colour = read_colour(video)
        key = (video.format.name, colour)
        if key not in self._converters:
            video_format = FrameFormat(
                width=video.width,
                height=video.height,
                format=working_format(video.format.name),
                colour=colour,
            )
            self._converters[key] = Converter(
                PixelEncoding.of(video_format), PixelEncoding.of(self._info)
            )
        return self._converters[key]
