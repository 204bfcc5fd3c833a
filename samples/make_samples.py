"""Makes the clips of this folder: rain on two free clips, and the awkward files users have.

    python samples/make_samples.py --dashcam dashcam.mp4 --car car_detection.mp4

Where the two source clips come from, and their licences: `samples/README.md`. The rain is made
here, independently of the rain the network is trained on, and it moves: the same drops fall
through the frames (`lfdn.degrade.FallingRain`). Everything is seeded, so two runs give the same
pictures.
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

Picture = NDArray[np.float32]
"""RGB, `[H, W, 3]`, 0…1."""

FOLDER = Path(__file__).parent
SEED = 20210813
RATE = 25
AUDIO_RATE = 44_100
TIME_BASE = Fraction(1, 90_000)


def overcast(picture: Picture) -> Picture:
    """A sunny picture under a rainy sky: paler, flatter, cooler, with a veil of fine rain."""
    grey = picture.mean(2, keepdims=True)
    pale = grey + 0.55 * (picture - grey)
    flat = 0.12 + 0.68 * pale
    return np.asarray(flat * (0.97, 1.0, 1.02), np.float32)


def pictures(source: Path, *, skip: int, height: int, width: int) -> Iterator[Picture]:
    """The frames of a clip from number `skip` on, scaled and cropped to `height`, `width`."""
    with av.open(source) as container:
        for frame in islice(container.decode(video=0), skip, None):
            yield cover(frame.to_ndarray(format="rgb24").astype(np.uint8), height, width)


def cover(picture: NDArray[np.uint8], height: int, width: int) -> Picture:
    rows, columns = picture.shape[:2]
    scale = max(height / rows, width / columns)
    size = (max(width, round(columns * scale)), max(height, round(rows * scale)))
    resized = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    top, left = (resized.shape[0] - height) // 2, (resized.shape[1] - width) // 2
    return resized[top : top + height, left : left + width] / np.float32(255)


def rained(source: Iterable[Picture], height: int, width: int, *, seed: int) -> Iterator[Picture]:
    rain = FallingRain(height, width, seed=seed)
    for index, picture in enumerate(source):
        yield rain.fall(overcast(picture), index)


def video_stream(
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
    stream.height, stream.width, stream.pix_fmt = height, width, pixel_format
    stream.time_base = stream.codec_context.time_base = TIME_BASE
    stream.color_range, stream.colorspace = ColorRange.MPEG, Colorspace.ITU709
    stream.color_primaries, stream.color_trc = ColorPrimaries.BT709, ColorTrc.BT709
    return stream


def encoded(picture: Picture, stream: VideoStream, pts: int) -> VideoFrame:
    """A picture in the stream's pixel format, by BT.709 and in limited range."""
    if "10" in (stream.pix_fmt or ""):
        rgb = VideoFrame.from_ndarray((picture * 65535).round().astype(np.uint16), "rgb48le")
    else:
        rgb = VideoFrame.from_ndarray((picture * 255).round().astype(np.uint8), "rgb24")
    frame = rgb.reformat(
        format=stream.pix_fmt,
        src_color_range=ColorRange.JPEG,
        dst_color_range=ColorRange.MPEG,
        dst_colorspace=Colorspace.ITU709,
    )
    frame.pts, frame.time_base = pts, TIME_BASE
    return frame


def constant_rate(count: int) -> list[int]:
    return [index * TIME_BASE.denominator // RATE for index in range(count)]


def phone_rate(count: int) -> list[int]:
    """Times as a phone writes them: 30 frames a second that waver, drop to 12, and pause once."""
    generator = np.random.default_rng(SEED)
    steps = 3000 + generator.integers(-180, 180, count)
    steps[count // 3 : count // 2] = 7500
    steps[count // 2] = 45_000
    return [int(pts) for pts in np.cumsum(steps)]


def write_video(
    container: OutputContainer, stream: VideoStream, source: Iterable[Picture], times: list[int]
) -> None:
    for picture, pts in zip(source, times, strict=False):
        container.mux(stream.encode(encoded(picture, stream, pts)))
    container.mux(stream.encode(None))


def rain_noise(seconds: float, channels: int) -> NDArray[np.float32]:
    """The sound of rain on a roof over an engine's hum, `[channels, samples]`, −1…1."""
    generator = np.random.default_rng(SEED)
    count = round(seconds * AUDIO_RATE)
    spectrum = np.fft.rfft(generator.standard_normal((channels, count)))
    pitch = np.fft.rfftfreq(count, 1 / AUDIO_RATE)
    band = np.clip(pitch / 700, 0, 1) / (1 + (pitch / 3500) ** 2)
    rain = np.fft.irfft(spectrum * band, count)
    time = np.arange(count) / AUDIO_RATE
    hum = sum(np.sin(2 * np.pi * 47 * step * time) / step for step in (1, 2, 3))
    sound = 0.12 * rain / rain.std() + 0.04 * hum
    return np.asarray(np.clip(sound, -1, 1), np.float32)


def add_audio(container: OutputContainer, codec: str, layout: str, language: str) -> AudioStream:
    stream = container.add_stream(codec, rate=48_000 if codec == "libopus" else AUDIO_RATE)
    assert isinstance(stream, AudioStream)
    stream.layout, stream.bit_rate = layout, 64_000
    stream.metadata["language"] = language
    return stream


def write_audio(container: OutputContainer, stream: AudioStream, seconds: float) -> None:
    sound = rain_noise(seconds, stream.layout.nb_channels)
    frame = AudioFrame.from_ndarray(sound, format="fltp", layout=stream.layout.name)
    frame.sample_rate, frame.pts, frame.time_base = AUDIO_RATE, 0, Fraction(1, AUDIO_RATE)
    container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def make_rainy_dashcam(target: Path, dashcam: Path) -> None:
    """3.4 seconds of heavy rain before a windscreen, with sound: what the product is for."""
    height, width, count = 360, 640, 85
    with av.open(target, "w", container_options={"movflags": "+faststart"}) as container:
        stream = video_stream(container, "libx264", height, width, crf="18", preset="slow")
        audio = add_audio(container, "aac", "stereo", "eng")
        container.metadata["title"] = "Rain on the highway"
        source = pictures(dashcam, skip=20, height=height, width=width)
        write_video(
            container, stream, rained(source, height, width, seed=SEED), constant_rate(count)
        )
        write_audio(container, audio, count / RATE)


def make_variable_rate(target: Path, car: Path) -> None:
    """A wavering frame rate with B-frames, a pause of half a second, and sound to keep up with."""
    height, width, count = 216, 384, 60
    times = phone_rate(count)
    with av.open(target, "w") as container:
        stream = video_stream(container, "libx264", height, width, crf="20", bf="3")
        audio = add_audio(container, "aac", "mono", "eng")
        source = pictures(car, skip=60, height=height, width=width)
        write_video(container, stream, rained(source, height, width, seed=SEED + 1), times)
        write_audio(container, audio, times[-1] / TIME_BASE.denominator)


def make_odd_size_10bit(target: Path, dashcam: Path) -> None:
    """10-bit 4:2:0 whose width and height are both odd: the chroma planes are half a pixel over."""
    height, width, count = 179, 321, 30
    with av.open(target, "w") as container:
        stream = video_stream(
            container, "libsvtav1", height, width, pixel_format="yuv420p10le", crf="18", preset="8"
        )
        source = pictures(dashcam, skip=60, height=height, width=width)
        write_video(
            container, stream, rained(source, height, width, seed=SEED + 2), constant_rate(count)
        )


def make_rotated(target: Path, dashcam: Path) -> None:
    """Filmed upright with a phone: stored lying on its side, with a matrix that turns it back."""
    height, width, count = 384, 216, 40
    with av.open(target, "w") as container:
        stream = video_stream(container, "libx264", width, height, crf="20")
        stream.set_display_rotation(-90)
        source = pictures(dashcam, skip=100, height=height, width=width)
        upright = rained(source, height, width, seed=SEED + 3)
        lying = (np.ascontiguousarray(np.rot90(picture)) for picture in upright)
        write_video(container, stream, lying, constant_rate(count))


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
    """Two sound tracks, two kinds of subtitles, chapters, tags and an attached file."""
    height, width, count = 180, 320, 40
    with av.open(target, "w") as container, ExitStack() as files:
        stream = video_stream(container, "libx264", height, width, crf="20")
        stream.metadata["title"] = "Picture"
        english = add_audio(container, "aac", "stereo", "eng")
        german = add_audio(container, "libopus", "mono", "ger")
        german.metadata["title"] = "Commentary"
        german.disposition = Disposition.comment
        texts = {name: files.enter_context(open_text(*text)) for name, text in SUBTITLES.items()}
        subtitles = {name: add_subtitles(container, file, name) for name, file in texts.items()}
        container.add_attachment("note.txt", "text/plain", b"Filmed from above.\n")
        container.metadata.update(title="Many streams", comment="everything a file can carry")
        container.set_chapters([chapter(0, 0, 0.8, "Empty"), chapter(1, 0.8, 1.6, "A car comes")])
        source = pictures(car, skip=60, height=height, width=width)
        write_video(
            container, stream, rained(source, height, width, seed=SEED + 4), constant_rate(count)
        )
        for audio in (english, german):
            write_audio(container, audio, count / RATE)
        for name, file in texts.items():
            copy_packets(file, container, subtitles[name])


def open_text(format_name: str, text: str) -> InputContainer:
    return av.open(io.BytesIO(text.encode()), "r", format=format_name)


def add_subtitles(
    container: OutputContainer, file: InputContainer, language: str
) -> SubtitleStream:
    stream = container.add_stream_from_template(file.streams.subtitles[0])
    stream.metadata["language"] = language
    return stream


def copy_packets(file: InputContainer, container: OutputContainer, stream: SubtitleStream) -> None:
    for packet in file.demux():
        if packet.dts is not None:
            packet.stream = stream
            container.mux(packet)


def chapter(number: int, start_s: float, end_s: float, title: str) -> "Chapter":
    return {
        "id": number,
        "start": round(start_s * 1000),
        "end": round(end_s * 1000),
        "time_base": Fraction(1, 1000),
        "metadata": {"title": title},
    }


def make_truncated(target: Path, whole: Path) -> None:
    """A recording that broke off: an MP4 whose index would have come at the end. Unreadable."""
    content = whole.read_bytes()
    target.write_bytes(content[: len(content) * 6 // 10])


def make_cut_short(target: Path, whole: Path) -> None:
    """A download that broke off: the index says more than the file has. Its beginning plays."""
    content = whole.read_bytes()
    target.write_bytes(content[: len(content) * 4 // 10])


@click.command()
@click.option("--dashcam", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--car", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--folder", type=click.Path(file_okay=False, path_type=Path), default=FOLDER)
def main(dashcam: Path, car: Path, folder: Path) -> None:
    """Make every sample clip from the two source clips."""
    os.environ.setdefault("SVT_LOG", "1")  # errors alone
    folder.mkdir(parents=True, exist_ok=True)
    make_rainy_dashcam(folder / "rainy_dashcam.mp4", dashcam)
    make_variable_rate(folder / "variable_rate.mp4", car)
    make_odd_size_10bit(folder / "odd_size_10bit.mkv", dashcam)
    make_rotated(folder / "rotated.mp4", dashcam)
    make_many_streams(folder / "many_streams.mkv", car)
    make_truncated(folder / "truncated.mp4", folder / "variable_rate.mp4")
    make_cut_short(folder / "cut_short.mp4", folder / "rainy_dashcam.mp4")
    for clip in sorted(folder.glob("*.m[pk][4v]")):
        click.echo(f"{clip.name:24}{clip.stat().st_size / 1e6:6.2f} MB")


if __name__ == "__main__":
    main()
