"""Frames to planes and back: rearranging is lossless, converting follows matrix and range."""

import numpy as np
import pytest

from lfdn_video.media import (
    MATRIX_BT601,
    MATRIX_BT709,
    MATRIX_UNTAGGED,
    RANGE_FULL,
    RANGE_LIMITED,
    RANGE_UNTAGGED,
    Colour,
    Frame,
    PixelFormat,
    Plane,
)
from lfdn_video.planes import (
    Converter,
    PixelEncoding,
    build_video_frame,
    extract_planes,
    working_format,
)
from tests.support.clips import noise

REARRANGED = {
    "nv12": "yuv420p",
    "nv21": "yuv420p",
    "nv16": "yuv422p",
    "yuyv422": "yuv422p",
    "uyvy422": "yuv422p",
    "rgb24": "gbrp",
    "bgr24": "gbrp",
    "rgba": "gbrap",
    "argb": "gbrap",
    "rgb48le": "gbrp16le",
    "rgb48be": "gbrp16le",
    "rgba64be": "gbrap16le",
    "gray16be": "gray16le",
    "ya16be": "ya16le",
    "yuv420p10be": "yuv420p10le",
    "yuv422p10be": "yuv422p10le",
    "yuv444p10be": "yuv444p10le",
    "yuv420p12be": "yuv420p12le",
}


@pytest.mark.parametrize(
    ("name", "working"),
    [
        *REARRANGED.items(),
        ("p010le", "yuv420p10le"),
        ("p210le", "yuv422p10le"),
        ("bgr0", "gbrp"),
        ("pal8", "gbrap"),
        ("monow", "gray"),
        ("rgb565le", "gbrp"),
        ("x2rgb10le", "gbrp10le"),
        ("yuv420p10be", "yuv420p10le"),
        ("yuvj420p", "yuvj420p"),
        ("gbrpf32le", "gbrp16le"),
    ],
)
def test_working_format_is_the_planar_equivalent(name: str, working: str) -> None:
    assert working_format(name).name == working


@pytest.mark.parametrize("tag", [RANGE_UNTAGGED, RANGE_LIMITED, RANGE_FULL])
@pytest.mark.parametrize("matrix", [MATRIX_UNTAGGED, MATRIX_BT709, MATRIX_BT601])
@pytest.mark.parametrize(("name", "working"), REARRANGED.items())
def test_rearranging_to_planes_is_lossless(name: str, working: str, matrix: int, tag: int) -> None:
    packed = noise(1, name, (64, 48))  # big-endian, it exceeds depths below 16 bits
    packed.colorspace, packed.color_range = matrix, tag
    planes = extract_planes(packed, PixelFormat.parse(working))
    again = build_video_frame(Frame(planes, PixelFormat.parse(working), pts=0)).reformat(
        format=name
    )
    assert [bytes(plane) for plane in again.planes] == [bytes(plane) for plane in packed.planes]


@pytest.mark.parametrize("tag", [RANGE_UNTAGGED, RANGE_LIMITED, RANGE_FULL])
@pytest.mark.parametrize("name", ["yuva420p10", "yuv444p12", "gray10", "gbrp10"])
def test_big_endian_planes_equal_little_endian_ones(name: str, tag: int) -> None:
    little, working = noise(4, f"{name}le", (63, 47)), PixelFormat.parse(f"{name}le")
    big = little.reformat(format=f"{name}be")
    big.color_range = tag
    pairs = zip(extract_planes(big, working), extract_planes(little, working), strict=True)
    assert all(np.array_equal(*pair) for pair in pairs)


@pytest.mark.parametrize("name", ["yuv420p", "yuv422p10le", "gray", "gbrap", "ya8", "yuv410p"])
@pytest.mark.parametrize("size", [(63, 47), (1, 1), (64, 48)])
def test_planes_survive_a_round_trip_through_ffmpeg(name: str, size: tuple[int, int]) -> None:
    planes = extract_planes(noise(2, name, size), PixelFormat.parse(name))
    again = extract_planes(
        build_video_frame(Frame(planes, PixelFormat.parse(name), 0)), working_format(name)
    )
    assert all(np.array_equal(*pair) for pair in zip(planes, again, strict=True))


def test_extracted_planes_own_their_memory() -> None:
    video = noise(3, "yuv420p", (63, 47))
    first = extract_planes(video, PixelFormat.parse("yuv420p"))
    video.planes[0].update(bytes(video.planes[0].buffer_size))
    assert first[0].any()
    assert all(plane.flags.c_contiguous and plane.flags.owndata for plane in first)


@pytest.mark.parametrize("matrix", [1, 6, 9])
@pytest.mark.parametrize("full", [False, True])
def test_rgb_is_converted_by_the_stated_matrix_and_range(matrix: int, full: bool) -> None:
    red, green, blue = 200, 100, 50
    target = PixelEncoding("yuv444p", matrix, full)
    colours = tuple(np.full((16, 16), value, np.uint8) for value in (green, blue, red))
    video = build_video_frame(Frame(colours, PixelFormat.parse("gbrp"), 0))
    converted = Converter(PixelEncoding("gbrp", matrix, True), target).convert_frame(video)
    luma = extract_planes(converted, PixelFormat.parse("yuv444p"))[0]
    (kr, kb), _ = Colour(matrix=matrix).resolve(16, PixelFormat.parse("yuv444p"))
    bright = kr * red + (1 - kr - kb) * green + kb * blue
    expected = bright if full else 16 + bright * 219 / 255
    assert abs(int(luma[8, 8]) - expected) <= 0.51


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("name", ["yuv420p", "yuv444p"])
def test_gray_keeps_its_levels_when_chroma_is_added(full: bool, name: str) -> None:
    ramp: Plane = np.tile(np.arange(64, 128, dtype=np.uint8), (48, 1))
    video = build_video_frame(Frame((ramp,), PixelFormat.parse("gray"), 0))
    converted = Converter(
        PixelEncoding("gray", 6, full), PixelEncoding(name, 6, full)
    ).convert_frame(video)
    luma, *chroma = extract_planes(converted, PixelFormat.parse(name))
    assert np.array_equal(luma, ramp)
    assert {int(value) for plane in chroma for value in np.unique(plane)} == {128}


def test_full_range_is_converted_to_limited() -> None:
    planes = tuple(np.full(shape, 255, np.uint8) for shape in ((16, 16), (8, 8), (8, 8)))
    video = build_video_frame(Frame(planes, PixelFormat.parse("yuvj420p"), 0))
    source, target = PixelEncoding("yuvj420p", 6, True), PixelEncoding("yuv420p", 6, False)
    converted = Converter(source, target).convert_frame(video)
    assert extract_planes(converted, PixelFormat.parse("yuv420p"))[0][0, 0] == 235
