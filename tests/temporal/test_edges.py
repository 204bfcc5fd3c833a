"""Awkward videos through a whole run, as files: rain goes, and frames, times and tags stay."""

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from lfdn_video.input.open import open_reader
from lfdn_video.media import Frame
from lfdn_video.options import EncodeOptions
from lfdn_video.pipeline import Summary, restore
from lfdn_video.planes import build_video_frame
from tests.support.rain import (
    COLOUR,
    COUNT,
    HEIGHT,
    WIDTH,
    Luma,
    error,
    is_same,
    noisy,
    pan,
    rain,
    scene,
    still,
    timid_engine,
    to_frames,
    write,
)

LOSSLESS = EncodeOptions(codec="ffv1")
DRY = noisy(still())
FORMATS = ("yuv420p10le", "yuv422p", "yuv444p12le", "gray", "gray10le", "bgr0", "gbrp10le")


def run(source: Path, *, deinterlace: bool = False) -> tuple[list[Frame], Summary]:
    """Restore by a timid network, with the defaults; return what was written."""
    target = source.with_name("after.mkv")
    with timid_engine() as engine:
        summary = restore(source, target, engine=engine, encode=LOSSLESS, deinterlace=deinterlace)
    return read(target), summary


def read(path: Path) -> list[Frame]:
    with open_reader(path) as reader:
        return list(reader.frames())


def changed(summary: Summary) -> int:
    assert summary.temporal is not None
    return summary.temporal.frames


def write_rotated(path: Path, frames: Sequence[Frame], rotation: int) -> Path:
    """Write frames without loss, to be shown turned by so many degrees."""
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"qp": "0"})
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.color_range = COLOUR.range
        stream.set_display_rotation(rotation)
        for frame in frames:
            container.mux(stream.encode(build_video_frame(frame)))
        container.mux(stream.encode(None))
    return path


def write_two_sizes(path: Path, first: Sequence[Frame], then: Sequence[Frame]) -> Path:
    """Write frames of two sizes as one stream."""
    with path.open("wb") as file:
        pts = 0
        for frames in (first, then):
            context = av.CodecContext.create("libx264", "w")
            assert isinstance(context, VideoCodecContext)
            context.width, context.height = frames[0].width, frames[0].height
            context.pix_fmt, context.time_base = "yuv420p", Fraction(1, 25)
            context.color_range = COLOUR.range
            context.options = {"qp": "0", "bf": "0"}
            for frame in frames:
                video = build_video_frame(frame)
                video.pts, video.time_base = pts, Fraction(1, 25)
                pts += 1
                for packet in context.encode(video):
                    file.write(bytes(packet))
            for packet in context.encode(None):
                file.write(bytes(packet))
    return path


def weave(lumas: Sequence[Luma]) -> list[Luma]:
    """Make interlaced frames: the even lines of one, the odd lines of the next."""
    woven = []
    for top, bottom in zip(lumas[::2], lumas[1::2], strict=True):
        frame = top.copy()
        frame[1::2] = bottom[1::2]
        woven.append(frame)
    return woven


@pytest.mark.parametrize("name", FORMATS)
def test_rain_goes_in_every_format(tmp_path: Path, name: str) -> None:
    frames = to_frames(rain(DRY), "gray" if name == "bgr0" else name)
    clip = write(tmp_path / "clip.mkv", frames)
    if name == "bgr0":
        clip = as_bgr0(clip)
    after, summary = run(clip)
    assert changed(summary) > COUNT // 2
    assert after[0].format.depth == frames[0].format.depth
    assert error(after, DRY) < error(read(clip), DRY) / 4


def as_bgr0(clip: Path) -> Path:
    """Write the same grey as RGB in packed pixels."""
    target = clip.with_name("packed.mkv")
    with av.open(clip) as source, av.open(target, "w") as container:
        stream = container.add_stream("ffv1", rate=25, width=WIDTH, height=HEIGHT)
        stream.pix_fmt = "bgr0"
        for frame in source.decode(video=0):
            container.mux(stream.encode(frame.reformat(format="bgr0")))
        container.mux(stream.encode(None))
    return target


@pytest.mark.parametrize("rotation", [90, 180, -90])
def test_rain_goes_in_rotated_video(tmp_path: Path, rotation: int) -> None:
    clip = write_rotated(tmp_path / "clip.mp4", to_frames(rain(DRY)), rotation)
    after, summary = run(clip)
    assert changed(summary) > COUNT // 2
    assert error(after, DRY) < error(read(clip), DRY) / 4
    with open_reader(clip) as before, open_reader(clip.with_name("after.mkv")) as restored:
        assert restored.info.rotation == before.info.rotation != 0


def test_rain_goes_at_a_variable_frame_rate(tmp_path: Path) -> None:
    times = [0, 1, 2, 9, 10, 11, 30, 31, 90]
    frames = [replace(f, pts=pts) for f, pts in zip(to_frames(rain(DRY)), times, strict=True)]
    clip = write(tmp_path / "clip.mkv", frames)
    after, summary = run(clip)
    assert changed(summary) > COUNT // 2
    assert error(after, DRY) < error(frames, DRY) / 4
    assert [frame.pts for frame in after] == [frame.pts for frame in read(clip)]


def test_rain_goes_on_both_sides_of_a_change_of_size(tmp_path: Path) -> None:
    larger = noisy(still(6, 144, 208))
    first, then = to_frames(rain(noisy(still(6)))), to_frames(rain(larger))
    clip = write_two_sizes(tmp_path / "clip.h264", first, then)
    before = read(clip)
    after, summary = run(clip)
    assert {(frame.width, frame.height) for frame in after} == {(WIDTH, HEIGHT)}
    assert changed(summary) > 6
    dry = read(
        write_two_sizes(tmp_path / "dry.h264", to_frames(noisy(still(6))), to_frames(larger))
    )
    lumas = [frame.planes[0].astype(np.float32) for frame in dry]
    for part in (slice(0, 6), slice(6, 12)):
        assert error(after[part], lumas[part]) < error(before[part], lumas[part]) / 2


def test_rain_goes_in_frames_made_from_fields(tmp_path: Path) -> None:
    moving = noisy(pan(2 * COUNT, 1))
    rainy = write(tmp_path / "rainy.mkv", to_frames(weave(rain(moving))))
    (tmp_path / "dry").mkdir()
    dry = write(tmp_path / "dry" / "dry.mkv", to_frames(weave(moving)))
    with open_reader(dry, deinterlace=True) as reader:
        lumas = [frame.planes[0].astype(np.float32) for frame in reader.frames()]
    with open_reader(rainy, deinterlace=True) as reader:
        before = list(reader.frames())
    after, summary = run(rainy, deinterlace=True)
    assert changed(summary) > len(lumas) // 2
    assert error(after, lumas) < error(before, lumas) / 2


def test_first_and_last_frames_lose_their_rain_too(tmp_path: Path) -> None:
    frames = to_frames(rain(DRY))
    after, _ = run(write(tmp_path / "clip.mkv", frames))
    for index in (0, 1, COUNT - 2, COUNT - 1):
        part = slice(index, index + 1)
        assert error(after[part], DRY[part]) < error(frames[part], DRY[part]) / 2


def test_flash_in_rain_keeps_its_light(tmp_path: Path) -> None:
    lumas = [luma * (1.5 if index == 4 else 1) for index, luma in enumerate(noisy(still()))]
    frames = to_frames(rain(lumas))
    after, _ = run(write(tmp_path / "clip.mkv", frames))
    light = [float(frame.planes[0].mean()) for frame in after]
    assert light[4] == pytest.approx(float(lumas[4].mean()), rel=0.03)
    others = [index for index in range(COUNT) if index != 4]
    assert light[3] == pytest.approx(float(lumas[3].mean()), rel=0.03)
    found = error([after[i] for i in others], [lumas[i] for i in others])
    assert found < error([frames[i] for i in others], [lumas[i] for i in others]) / 3


def test_exposure_that_goes_up_and_down_is_followed(tmp_path: Path) -> None:
    gains = [1, 1.03, 1.06, 1.09, 1.12, 1.09, 1.06, 1.03, 1]
    lumas = [luma * gain for luma, gain in zip(noisy(still()), gains, strict=True)]
    frames = to_frames(rain(lumas))
    after, _ = run(write(tmp_path / "clip.mkv", frames))
    assert error(after, lumas) < error(frames, lumas) / 3


def test_nothing_of_one_scene_gets_into_the_next(tmp_path: Path) -> None:
    scenes = [scene(seed, 256, 384) for seed in (1, 9)]
    frames = to_frames(rain(noisy([scenes[0]] * 5 + [scenes[1]] * 5), count=250))
    after, summary = run(write(tmp_path / "clip.mkv", frames))
    assert changed(summary) == len(frames)
    alone = []
    for part in (frames[:5], frames[5:]):
        folder = tmp_path / str(part[0].pts)
        folder.mkdir()
        alone += run(write(folder / "clip.mkv", part))[0]
    assert all(is_same(*pair) for pair in zip(after, alone, strict=True))


def test_repeated_frames_stay_and_tell_nothing(tmp_path: Path) -> None:
    double = [frame for frame in to_frames(rain(DRY)) for _ in range(2)]
    double = [replace(frame, pts=index) for index, frame in enumerate(double)]
    after, _ = run(write(tmp_path / "clip.mkv", double))
    assert len(after) == 2 * COUNT
    dry = [luma for luma in DRY for _ in range(2)]
    middle = slice(4, -4)
    assert error(after[middle], dry[middle]) < error(double[middle], dry[middle]) / 3
