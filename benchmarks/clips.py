"""Clips that several benchmarks use: the sample, scaled copies of it, and generated ones."""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

ROOT = Path(__file__).parent.parent
SAMPLE = ROOT / "samples" / "rainy_dashcam.mp4"
RATE = 25
"""Frame rate of every clip that is written here."""
SAMPLE_RATE = 48_000
AUDIO_FRAME_SAMPLES = 1024  # as AAC encodes them


def write_clip(path: Path, frames: Iterable[VideoFrame], **options: str) -> Path:
    """Encode frames as H.264, with a tone as AAC.

    Args:
        path: The file to write.
        frames: At least one; all of one size and in 8 bit. Their timestamps are replaced.
        **options: Options of x264.

    Returns:
        `path`.
    """
    with av.open(path, "w") as container:
        video = container.add_stream("libx264", RATE, options=options)
        audio = container.add_stream("aac", SAMPLE_RATE, layout="mono")
        assert isinstance(video, VideoStream)
        assert isinstance(audio, AudioStream)
        video.pix_fmt = "yuv420p"
        written = 0
        for number, frame in enumerate(frames):
            if number == 0:
                video.width, video.height = frame.width, frame.height
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            container.mux(video.encode(frame))
            written = _write_tone(
                container, audio, written, until=(number + 1) * SAMPLE_RATE // RATE
            )
        container.mux(video.encode(None))
        container.mux(audio.encode(None))
    return path


def scale_clip(source: Path, target: Path, size: tuple[int, int], frames: int) -> Path:
    """Encode the first `frames` frames of `source` in another size, as H.264 without audio.

    A source with fewer frames starts again from its beginning.

    Args:
        source: The clip to scale.
        target: The file to write.
        size: Width and height in px.
        frames: Number of frames to write.

    Returns:
        `target`.
    """
    width, height = size
    with av.open(target, "w") as container:
        stream = container.add_stream("libx264", Fraction(RATE), options={"crf": "18"})
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number, frame in enumerate(islice(loop_frames(source), frames)):
            scaled = frame.reformat(width, height, "yuv420p", interpolation="BICUBIC")
            scaled.pts, scaled.time_base = number, Fraction(1, RATE)
            container.mux(stream.encode(scaled))
        container.mux(stream.encode(None))
    return target


def _write_tone(container: OutputContainer, stream: AudioStream, start: int, *, until: int) -> int:
    """Write audio frames from sample `start` until `until` is covered; return the next start."""
    while start < until:
        wave = np.sin((np.arange(AUDIO_FRAME_SAMPLES) + start) / 20)[None].astype(np.float32)
        frame = AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
        frame.sample_rate, frame.pts = SAMPLE_RATE, start
        container.mux(stream.encode(frame))
        start += AUDIO_FRAME_SAMPLES
    return start


def loop_frames(source: Path) -> Iterator[VideoFrame]:
    """Decode a clip again and again."""
    while True:
        with av.open(source) as clip:
            yield from clip.decode(video=0)
