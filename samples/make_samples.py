"""Make the clips of this folder: rain on two free clips, and the awkward files users have.

    python samples/make_samples.py --dashcam dashcam.mp4 --car car_detection.mp4

`samples/README.md` states the sources of the two clips and their licences. The rain is not that of
training, and it moves: the same drops fall from frame to frame (`lfdn.degrade.FallingRain`).
Everything is seeded, so two runs give the same frames.
"""

import io
import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import av
import click
import cv2
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.stream import Disposition
from av.subtitles.stream import SubtitleStream
from av.video.frame import VideoFrame
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc
from av.video.stream import VideoStream
from numpy.typing import NDArray

from lfdn.degrade import FallingRain

if TYPE_CHECKING:
    from av.container.core import Chapter

FloatImage = NDArray[np.float32]
"""RGB, `[H, W, 3]`, 0…1."""

FOLDER = Path(__file__).parent
DEMO = FOLDER.parent / "lfdn_video" / "cli" / "demo.mp4"
DEMO_FRAMES = 50
"""Frames of the clip of `lfdn-video demo`, at most."""
SEED = 20210813
RATE = 25
SAMPLE_RATE = 44_100
TIME_BASE = Fraction(1, 90_000)


def overcast(image: FloatImage) -> FloatImage:
    """Make a sunny image overcast: paler, flatter, cooler, with a veil of fine rain."""
    grey = image.mean(2, keepdims=True)
    pale = grey + 0.55 * (image - grey)
    flat = 0.12 + 0.68 * pale
    return np.asarray(flat * (0.97, 1.0, 1.02), np.float32)


def read_images(source: Path, *, skip: int, height: int, width: int) -> Iterator[FloatImage]:
    """Yield the frames of a clip from number `skip` on, scaled and cropped to a size."""
    with av.open(source) as container:
        for frame in islice(container.decode(video=0), skip, None):
            yield scale_and_crop(frame.to_ndarray(format="rgb24").astype(np.uint8), height, width)


def scale_and_crop(image: NDArray[np.uint8], height: int, width: int) -> FloatImage:
    """Scale an image to cover a size, crop its centre, and convert it to 0…1."""
    rows, columns = image.shape[:2]
    scale = max(height / rows, width / columns)
    size = (max(width, round(columns * scale)), max(height, round(rows * scale)))
    resized = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    top, left = (resized.shape[0] - height) // 2, (resized.shape[1] - width) // 2
    return resized[top : top + height, left : left + width] / np.float32(255)


def add_rain(
    source: Iterable[FloatImage], height: int, width: int, *, seed: int
) -> Iterator[FloatImage]:
    """Yield the frames under an overcast sky, with falling rain."""
    rain = FallingRain(height, width, seed=seed)
    for index, image in enumerate(source):
        yield rain.fall(overcast(image), index)


def add_video(
    container: OutputContainer,
    codec: str,
    height: int,
    width: int,
    *,
    pixel_format: str = "yuv420p",
    **options: str,
) -> VideoStream:
    stream = container.add_stream(codec, rate=RATE, options={"threads": "1", **options})
    assert isinstance(stream, VideoStream)
    # One thread above, and tags set here: the same file on every machine, whatever FFmpeg's
    stream.height, stream.width, stream.pix_fmt = height, width, pixel_format
    stream.time_base = stream.codec_context.time_base = TIME_BASE
    stream.color_range, stream.colorspace = ColorRange.MPEG, Colorspace.ITU709
    stream.color_primaries, stream.color_trc = ColorPrimaries.BT709, ColorTrc.BT709
    return stream


def convert_frame(image: FloatImage, stream: VideoStream, pts: int) -> VideoFrame:
    """Convert a frame to the stream's pixel format, by BT.709 and in limited range."""
    if "10" in (stream.pix_fmt or ""):
        rgb = VideoFrame.from_ndarray((image * 65535).round().astype(np.uint16), "rgb48le")
    else:
        rgb = VideoFrame.from_ndarray((image * 255).round().astype(np.uint8), "rgb24")
    frame = rgb.reformat(
        format=stream.pix_fmt,
        src_color_range=ColorRange.JPEG,
        dst_color_range=ColorRange.MPEG,
        dst_colorspace=Colorspace.ITU709,
    )
    frame.pts, frame.time_base = pts, TIME_BASE
    return frame


def list_constant_times(count: int) -> list[int]:
    """List the pts of frames at a constant rate."""
    return [index * TIME_BASE.denominator // RATE for index in range(count)]


def list_phone_times(count: int) -> list[int]:
    """List pts like a phone's: about 30 frames per second, a drop to 12, and one pause."""
    generator = np.random.default_rng(SEED)
    steps = 3000 + generator.integers(-180, 180, count)
    steps[count // 3 : count // 2] = 7500
    steps[count // 2] = 45_000
    return [int(pts) for pts in np.cumsum(steps)]


def write_video(
    container: OutputContainer, stream: VideoStream, source: Iterable[FloatImage], times: list[int]
) -> None:
    """Encode one frame of the source for each of `times`, its pts."""
    for image, pts in zip(source, times, strict=False):
        container.mux(stream.encode(convert_frame(image, stream, pts)))
    container.mux(stream.encode(None))


def synthesize_rain(seconds: float, channels: int) -> NDArray[np.float32]:
    """Synthesize rain on a roof over an engine's hum, `[channels, samples]` in −1…1."""
    generator = np.random.default_rng(SEED)
    count = round(seconds * SAMPLE_RATE)
    spectrum = np.fft.rfft(generator.standard_normal((channels, count)))
    pitch = np.fft.rfftfreq(count, 1 / SAMPLE_RATE)
    band = np.clip(pitch / 700, 0, 1) / (1 + (pitch / 3500) ** 2)
    rain = np.fft.irfft(spectrum * band, count)
    time = np.arange(count) / SAMPLE_RATE
    hum = sum(np.sin(2 * np.pi * 47 * step * time) / step for step in (1, 2, 3))
    wave = 0.12 * rain / rain.std() + 0.04 * hum
    return np.asarray(np.clip(wave, -1, 1), np.float32)


def add_audio(container: OutputContainer, codec: str, layout: str, language: str) -> AudioStream:
    """Add an audio stream to a container."""
    stream = container.add_stream(codec, rate=48_000 if codec == "libopus" else SAMPLE_RATE)
    assert isinstance(stream, AudioStream)
    stream.layout, stream.bit_rate = layout, 64_000
    stream.metadata["language"] = language
    return stream


def write_audio(container: OutputContainer, stream: AudioStream, seconds: float) -> None:
    """Encode the rain's audio."""
    wave = synthesize_rain(seconds, stream.layout.nb_channels)
    frame = AudioFrame.from_ndarray(wave, format="fltp", layout=stream.layout.name)
    frame.sample_rate, frame.pts, frame.time_base = SAMPLE_RATE, 0, Fraction(1, SAMPLE_RATE)
    container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def make_rainy_dashcam(target: Path, dashcam: Path) -> None:
    """Make 3.4 seconds of heavy rain before a windscreen, with audio: the product's main use."""
    height, width, count = 360, 640, 85
    with av.open(target, "w", container_options={"movflags": "+faststart"}) as container:
        stream = add_video(container, "libx264", height, width, crf="18", preset="slow")
        audio = add_audio(container, "aac", "stereo", "eng")
        container.metadata["title"] = "Rain on the highway"
        source = read_images(dashcam, skip=20, height=height, width=width)
        write_video(
            container,
            stream,
            add_rain(source, height, width, seed=SEED),
            list_constant_times(count),
        )
        write_audio(container, audio, count / RATE)


def make_variable_rate(target: Path, car: Path) -> None:
    """Make a clip with a variable frame rate, B-frames, a pause of half a second, and audio."""
    height, width, count = 216, 384, 60
    times = list_phone_times(count)
    with av.open(target, "w") as container:
        stream = add_video(container, "libx264", height, width, crf="20", bf="3")
        audio = add_audio(container, "aac", "mono", "eng")
        source = read_images(car, skip=60, height=height, width=width)
        write_video(container, stream, add_rain(source, height, width, seed=SEED + 1), times)
        write_audio(container, audio, times[-1] / TIME_BASE.denominator)


def make_odd_size_10bit(target: Path, dashcam: Path) -> None:
    """Make 10-bit 4:2:0 of odd width and height: the chroma planes extend half a pixel beyond."""
    height, width, count = 179, 321, 30
    with av.open(target, "w") as container:
        stream = add_video(
            container, "libsvtav1", height, width, pixel_format="yuv420p10le", crf="18", preset="8"
        )
        source = read_images(dashcam, skip=60, height=height, width=width)
        write_video(
            container,
            stream,
            add_rain(source, height, width, seed=SEED + 2),
            list_constant_times(count),
        )


def make_rotated(target: Path, dashcam: Path) -> None:
    """Make a clip like a phone's, filmed upright: stored sideways, with a display matrix."""
    height, width, count = 384, 216, 40
    with av.open(target, "w") as container:
        stream = add_video(container, "libx264", width, height, crf="20")
        stream.set_display_rotation(-90)
        source = read_images(dashcam, skip=100, height=height, width=width)
        upright = add_rain(source, height, width, seed=SEED + 3)
        lying = (np.ascontiguousarray(np.rot90(image)) for image in upright)
        write_video(container, stream, lying, list_constant_times(count))


SRT = """1
00:00:00,100 --> 00:00:00,900
{0}

2
00:00:01,000 --> 00:00:01,500
{1}
"""
ASS = r"""[Script Info]
ScriptType: v4.00+

[V4+ Styles]
Format: Name, Fontname, Fontsize
Style: Default,Sans,20

[Events]
Format: Layer, Start, End, Style, Text
Dialogue: 0,0:00:00.20,0:00:01.40,Default,Pluie sur la {\i1}route
"""

SUBTITLES = {
    "ger": ("srt", SRT.format("Regen auf der Straße", "Es regnet immer noch")),
    "fre": ("ass", ASS),
}


def make_many_streams(target: Path, car: Path) -> None:
    """Make a file with two audio and two subtitle streams, chapters, tags and an attachment."""
    height, width, count = 180, 320, 40
    with av.open(target, "w") as container, ExitStack() as files:
        stream = add_video(container, "libx264", height, width, crf="20")
        stream.metadata["title"] = "Picture"
        english = add_audio(container, "aac", "stereo", "eng")
        german = add_audio(container, "libopus", "mono", "ger")
        german.metadata["title"] = "Commentary"
        german.disposition = Disposition.comment
        texts = {name: files.enter_context(open_text(*text)) for name, text in SUBTITLES.items()}
        subtitles = {name: add_subtitles(container, file, name) for name, file in texts.items()}
        container.add_attachment("note.txt", "text/plain", b"Filmed from above.\n")
        container.metadata.update(title="Many streams", comment="everything a file can carry")
        container.set_chapters(
            [make_chapter(0, 0, 0.8, "Empty"), make_chapter(1, 0.8, 1.6, "A car comes")]
        )
        source = read_images(car, skip=60, height=height, width=width)
        write_video(
            container,
            stream,
            add_rain(source, height, width, seed=SEED + 4),
            list_constant_times(count),
        )
        for audio in (english, german):
            write_audio(container, audio, count / RATE)
        for name, file in texts.items():
            copy_packets(file, container, subtitles[name])


def open_text(format_name: str, text: str) -> InputContainer:
    """Open subtitles from memory."""
    return av.open(io.BytesIO(text.encode()), "r", format=format_name)


def add_subtitles(
    container: OutputContainer, file: InputContainer, language: str
) -> SubtitleStream:
    """Add a stream for the subtitles of `file` to a container."""
    stream = container.add_stream_from_template(file.streams.subtitles[0])
    stream.metadata["language"] = language
    return stream


def copy_packets(file: InputContainer, container: OutputContainer, stream: SubtitleStream) -> None:
    """Copy the packets of `file` to a stream."""
    for packet in file.demux():
        if packet.dts is not None:
            packet.stream = stream
            container.mux(packet)


def make_chapter(number: int, start_s: float, end_s: float, title: str) -> "Chapter":
    """Build a chapter, as PyAV takes it."""
    return {
        "id": number,
        "start": round(start_s * 1000),
        "end": round(end_s * 1000),
        "time_base": Fraction(1, 1000),
        "metadata": {"title": title},
    }


def make_truncated(target: Path, whole: Path) -> None:
    """Truncate an MP4 whose index is at its end, like an aborted recording: unreadable."""
    content = whole.read_bytes()
    target.write_bytes(content[: len(content) * 6 // 10])


def make_cut_short(target: Path, whole: Path) -> None:
    """Truncate an MP4 whose index is at its start, like an aborted download: it still plays."""
    content = whole.read_bytes()
    target.write_bytes(content[: len(content) * 4 // 10])


def make_demo(target: Path, whole: Path) -> None:
    """Copy the first packets of a clip that begins at 0: the clip of `lfdn-video demo`."""
    with av.open(whole) as source, av.open(target, "w", options={"movflags": "+faststart"}) as copy:
        copies = {each: copy.add_stream_from_template(each, opaque=True) for each in source.streams}
        packets = [packet for packet in source.demux() if packet.size]
        video = [packet for packet in packets if packet.stream.type == "video"]
        # Packets are in the order of decoding: up to the last place at which none is missing.
        step = sorted(packet.pts or 0 for packet in video)[1]
        kept = max(
            number
            for number in range(1, DEMO_FRAMES + 1)
            if max(packet.pts or 0 for packet in video[:number]) == (number - 1) * step
        )
        end_s = kept * step * video[0].time_base
        for packet in packets:
            if (packet.pts or 0) * packet.time_base < end_s:
                packet.stream = copies[packet.stream]
                copy.mux(packet)


@click.command()
@click.option(
    "--dashcam",
    type=click.Path(exists=True, path_type=Path),
    required=True,
    help="Clip of a dashcam.",
)
@click.option(
    "--car",
    type=click.Path(exists=True, path_type=Path),
    required=True,
    help="Clip with cars, filmed from above.",
)
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=FOLDER,
    help="Folder to write to.",
)
def main(dashcam: Path, car: Path, folder: Path) -> None:
    """Make every sample clip from the two source clips."""
    os.environ.setdefault("SVT_LOG", "1")  # only errors
    folder.mkdir(parents=True, exist_ok=True)
    make_rainy_dashcam(folder / "rainy_dashcam.mp4", dashcam)
    make_variable_rate(folder / "variable_rate.mp4", car)
    make_odd_size_10bit(folder / "odd_size_10bit.mkv", dashcam)
    make_rotated(folder / "rotated.mp4", dashcam)
    make_many_streams(folder / "many_streams.mkv", car)
    make_truncated(folder / "truncated.mp4", folder / "variable_rate.mp4")
    make_cut_short(folder / "cut_short.mp4", folder / "rainy_dashcam.mp4")
    if folder == FOLDER:
        make_demo(DEMO, folder / "rainy_dashcam.mp4")
    for clip in sorted(folder.glob("*.m[pk][4v]")):
        click.echo(f"{clip.name:24}{clip.stat().st_size / 1e6:6.2f} MB")


if __name__ == "__main__":
    main()
