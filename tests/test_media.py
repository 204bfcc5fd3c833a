"""Pixel formats by name, the defaults of colour tags, and the checks of a frame."""

from dataclasses import replace

import numpy as np
import pytest

from lfdn_video.media import Colour, Frame, PixelFormat


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("yuv420p", PixelFormat("yuv420p", "yuv", 8, (1, 1))),
        ("yuvj422p", PixelFormat("yuvj422p", "yuv", 8, (1, 0), full_range_name=True)),
        ("yuv422p10le", PixelFormat("yuv422p10le", "yuv", 10, (1, 0))),
        ("yuva444p16le", PixelFormat("yuva444p16le", "yuv", 16, (0, 0), alpha=True)),
        ("yuv410p", PixelFormat("yuv410p", "yuv", 8, (2, 2))),
        ("gray12le", PixelFormat("gray12le", "gray", 12)),
        ("ya8", PixelFormat("ya8", "gray", 8, alpha=True)),
        ("gbrp", PixelFormat("gbrp", "rgb", 8)),
        ("gbrap10le", PixelFormat("gbrap10le", "rgb", 10, alpha=True)),
    ],
)
def test_pixel_format_is_parsed_from_its_name(name: str, expected: PixelFormat) -> None:
    assert PixelFormat.parse(name) == expected


@pytest.mark.parametrize("name", ["nv12", "rgb24", "yuv420p10be", "yuv421p", "pal8", ""])
def test_pixel_format_that_is_not_planar_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="not a planar working format"):
        PixelFormat.parse(name)


def test_chroma_planes_of_odd_sizes_round_up() -> None:
    shapes = PixelFormat.parse("yuva420p").plane_shapes(47, 63)
    assert shapes == ((47, 63), (24, 32), (24, 32), (47, 63))


def test_samples_above_8_bits_are_uint16() -> None:
    deep = PixelFormat.parse("yuv420p10le")
    assert (deep.dtype, deep.peak, len(deep.plane_shapes(2, 2))) == (np.uint16, 1023, 3)


@pytest.mark.parametrize(
    ("width", "height", "kr"),
    [
        (720, 576, 0.299),
        (1024, 576, 0.299),
        (1280, 534, 0.2126),
        (960, 720, 0.2126),
        (720, 578, 0.2126),
        (3840, 2160, 0.2126),
    ],
)
def test_matrix_of_an_untagged_stream_follows_its_size(width: int, height: int, kr: float) -> None:
    (found, _), _ = Colour().resolve(height, PixelFormat.parse("yuv420p"), width=width)
    assert found == kr


@pytest.mark.parametrize("matrix", [*range(20), 255])
def test_every_matrix_tag_resolves_to_known_coefficients(matrix: int) -> None:
    (kr, kb), _ = Colour(matrix=matrix).resolve(48, PixelFormat.parse("yuv420p"))
    assert 0 < kr + kb < 1


def test_matrix_tag_overrides_the_size() -> None:
    (kr, kb), _ = Colour(matrix=9).resolve(480, PixelFormat.parse("yuv420p"))
    assert (kr, kb) == (0.2627, 0.0593)


def test_missing_matrix_follows_the_primaries() -> None:
    assert Colour(primaries=9).resolve_matrix(480) == 9


@pytest.mark.parametrize(
    ("name", "tag", "full"),
    [
        ("yuv420p", 0, False),
        ("yuv420p", 2, True),
        ("yuvj420p", 0, True),
        ("gbrp", 1, True),
        ("gray", 0, True),
        ("gray", 1, False),
    ],
)
def test_range_follows_tag_and_pixel_format(name: str, tag: int, full: bool) -> None:
    assert Colour(range=tag).is_full_range(PixelFormat.parse(name)) is full


def test_frame_refuses_planes_of_wrong_shape() -> None:
    luma, chroma = np.zeros((48, 64), np.uint8), np.zeros((24, 32), np.uint8)
    frame = Frame((luma, chroma, chroma), PixelFormat.parse("yuv420p"), pts=0)
    with pytest.raises(ValueError, match="a plane is uint8"):
        replace(frame, planes=(luma, luma, luma))


def test_frame_refuses_planes_of_wrong_dtype() -> None:
    with pytest.raises(ValueError, match="not uint16"):
        Frame((np.zeros((48, 64), np.uint8),), PixelFormat.parse("gray10le"), pts=0)
