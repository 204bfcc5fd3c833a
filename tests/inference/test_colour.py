"""Colour conversion: by the formulae of the standards, and bit for bit where nothing changes."""

from dataclasses import replace
from typing import Literal

import numpy as np
import pytest
import torch
from torch import Tensor

from lfdn_video.inference.colour import PlaneConverter
from lfdn_video.media import MATRIX_BT709, RANGE_FULL, RANGE_LIMITED, Colour, VideoInfo
from tests.support.fakes import noise_planes, video_info

FORMATS = [
    "yuv420p",
    "yuvj420p",
    "yuv422p",
    "yuv444p",
    "yuv411p",
    "yuv410p",
    "yuv440p",
    "yuva420p",
    "yuv420p10le",
    "yuv422p12le",
    "yuv444p16le",
    "gray",
    "gray10le",
    "ya8",
    "gbrp",
    "gbrap",
    "gbrp10le",
    "gbrp16le",
]
TURNS: list[tuple[Literal[0, 90, 180, 270], bool]] = [
    (0, False),
    (90, False),
    (180, False),
    (270, False),
    (90, True),
    (0, True),
]
BT709_LIMITED = Colour(matrix=MATRIX_BT709, range=RANGE_LIMITED)
BT709_FULL = Colour(matrix=MATRIX_BT709, range=RANGE_FULL)

# 8-bit limited-range codes of saturated colours: ITU-T BT.709 table of 100/0/100/0 colour bars.
BT709_BARS = {
    (1, 1, 1): (235, 128, 128),
    (1, 1, 0): (219, 16, 138),
    (0, 1, 1): (188, 154, 16),
    (0, 1, 0): (173, 42, 26),
    (1, 0, 1): (78, 214, 230),
    (1, 0, 0): (63, 102, 240),
    (0, 0, 1): (32, 240, 118),
    (0, 0, 0): (16, 128, 128),
}


def _tensors(info: VideoInfo) -> list[Tensor]:
    return [torch.from_numpy(plane) for plane in noise_planes(info)]


def _flat(info: VideoInfo, *values: int) -> list[Tensor]:
    shapes = info.format.plane_shapes(info.height, info.width)
    return [
        torch.from_numpy(np.full(shape, value, info.format.dtype))
        for shape, value in zip(shapes, values, strict=True)
    ]


def _residual(info: VideoInfo, red: float, green: float, blue: float) -> Tensor:
    shape = (1, 3, info.height, info.width)
    return torch.tensor([red, green, blue]).view(1, 3, 1, 1).expand(shape)


def _values(planes: tuple[Tensor, ...]) -> tuple[int, ...]:
    values = [set(plane.flatten().tolist()) for plane in planes]
    assert all(len(found) == 1 for found in values)
    return tuple(found.pop() for found in values)


@pytest.mark.parametrize("size", [(48, 64), (47, 63), (1, 1), (2, 3)])
@pytest.mark.parametrize("name", FORMATS)
def test_zero_residual_keeps_every_bit(name: str, size: tuple[int, int]) -> None:
    info = video_info(name, height=size[0], width=size[1])
    planes, converter = _tensors(info), PlaneConverter(info)
    after = converter.add_residual(planes, torch.zeros_like(converter.to_rgb(planes)))
    assert all(a.equal(b) and a.dtype == b.dtype for a, b in zip(after, planes, strict=True))


@pytest.mark.parametrize("turn", TURNS)
@pytest.mark.parametrize("name", ["yuv420p", "gbrp"])
def test_zero_residual_keeps_every_bit_of_a_rotated_frame(
    name: str, turn: tuple[Literal[0, 90, 180, 270], bool]
) -> None:
    info = video_info(name, height=47, rotation=turn[0], flip=turn[1])
    planes, converter = _tensors(info), PlaneConverter(info)
    after = converter.add_residual(planes, torch.zeros_like(converter.to_rgb(planes)))
    assert all(a.equal(b) for a, b in zip(after, planes, strict=True))


@pytest.mark.parametrize("turn", TURNS)
def test_residual_is_rotated_back_to_where_it_was_computed(
    turn: tuple[Literal[0, 90, 180, 270], bool],
) -> None:
    info = video_info("gbrp", height=5, width=7, rotation=turn[0], flip=turn[1])
    planes, converter = _tensors(info), PlaneConverter(info)
    black = converter.add_residual(planes, -converter.to_rgb(planes))
    assert _values(black) == (0, 0, 0)


def test_rotation_turns_the_frame_clockwise() -> None:
    info = video_info("gray", height=2, width=3, rotation=90)
    stored = torch.tensor([[0, 1, 2], [3, 4, 5]], dtype=torch.uint8)
    upright = PlaneConverter(info).to_rgb([stored])[0, 0] * 255
    assert upright.round().int().tolist() == [[3, 0], [4, 1], [5, 2]]


def test_flip_comes_after_the_rotation() -> None:
    info = video_info("gray", height=2, width=3, rotation=90, flip=True)
    stored = torch.tensor([[0, 1, 2], [3, 4, 5]], dtype=torch.uint8)
    upright = PlaneConverter(info).to_rgb([stored])[0, 0] * 255
    assert upright.round().int().tolist() == [[0, 3], [1, 4], [2, 5]]


@pytest.mark.parametrize(("rgb", "codes"), list(BT709_BARS.items()))
@pytest.mark.parametrize(("name", "scale"), [("yuv420p", 1), ("yuv444p", 1), ("yuv422p10le", 4)])
def test_codes_of_bt709_bars_become_their_colours(
    name: str, scale: int, rgb: tuple[int, int, int], codes: tuple[int, int, int]
) -> None:
    info = video_info(name, colour=BT709_LIMITED)
    planes = _flat(info, *(code * scale for code in codes))
    seen = PlaneConverter(info).to_rgb(planes)
    assert (seen - torch.tensor(rgb).view(1, 3, 1, 1)).abs().max() < 0.5 / 219 * 2


@pytest.mark.parametrize(("rgb", "codes"), list(BT709_BARS.items()))
def test_residual_from_black_to_a_bar_gives_the_codes_of_bt709(
    rgb: tuple[int, int, int], codes: tuple[int, int, int]
) -> None:
    info = video_info("yuv420p", colour=BT709_LIMITED)
    after = PlaneConverter(info).add_residual(_flat(info, 16, 128, 128), _residual(info, *rgb))
    assert _values(after) == codes


@pytest.mark.parametrize(
    ("name", "colour", "expected"),
    [
        ("yuv420p", BT709_LIMITED, (100 + 22, 128, 128)),  # 0.1 · 219
        ("yuv420p10le", BT709_LIMITED, (100 + 88, 128, 128)),  # 0.1 · 876
        ("yuvj420p", Colour(), (100 + 26, 128, 128)),  # 0.1 · 255, rounded up
        ("yuv420p10le", Colour(range=RANGE_FULL), (100 + 102, 128, 128)),  # 0.1 · 1023
        ("gray", Colour(), (126,)),
        ("gbrp", Colour(), (126, 154, 154)),
    ],
)
def test_grey_residual_changes_luma_alone(
    name: str, colour: Colour, expected: tuple[int, ...]
) -> None:
    info = video_info(name, colour=colour)
    before = _flat(info, *(100, 128, 128)[: len(expected)])
    after = PlaneConverter(info).add_residual(before, _residual(info, 0.1001, 0.1001, 0.1001))
    assert _values(after) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # 0.1 of red: luma 0.02126 · 219, Cb -0.02126 / 1.8556 · 224, Cr 0.07874 / 1.5748 · 224
        ("yuv420p", (100 + 5, 128 - 3, 128 + 11)),
        ("yuv444p10le", (100 + 19, 128 - 10, 128 + 45)),
    ],
)
def test_red_residual_changes_luma_and_chroma(name: str, expected: tuple[int, ...]) -> None:
    info = video_info(name, colour=BT709_LIMITED)
    after = PlaneConverter(info).add_residual(
        _flat(info, 100, 128, 128), _residual(info, 0.1001, 0, 0)
    )
    assert _values(after) == expected


@pytest.mark.parametrize("matrix", [1, 4, 5, 6, 7, 9])
def test_round_trip_is_exact_to_a_hundredth_of_a_code(matrix: int) -> None:
    info = video_info("yuv444p16le", colour=Colour(matrix=matrix, range=RANGE_FULL))
    converter = PlaneConverter(info)
    grey = _flat(info, 32768, 32768, 32768)
    colours = torch.rand(1, 3, info.height, info.width) * 0.2 + 0.4
    planes = converter.add_residual(grey, colours - converter.to_rgb(grey))
    assert (converter.to_rgb(planes) - colours).abs().max() < 0.01 / 255


def test_samples_brighter_than_white_are_not_clamped() -> None:
    info = video_info("yuv420p", colour=BT709_LIMITED)
    after = PlaneConverter(info).add_residual(
        _flat(info, 250, 128, 128), _residual(info, -0.01, -0.01, -0.01)
    )
    assert _values(after)[0] == 248


def test_samples_are_clamped_to_the_depth() -> None:
    info = video_info("yuv420p10le")
    after = PlaneConverter(info).add_residual(
        _flat(info, 1000, 512, 512), _residual(info, 1.0, 1.0, 1.0)
    )
    assert _values(after)[0] == 1023


def test_rgb_is_clamped_to_the_range_of_the_training_images() -> None:
    info = video_info("yuv444p", colour=BT709_LIMITED)
    rgb = PlaneConverter(info).to_rgb(_tensors(info))
    assert (rgb.min().item(), rgb.max().item()) == (0, 1)


def test_alpha_is_passed_on_unchanged() -> None:
    info = video_info("yuva420p")
    planes = _tensors(info)
    after = PlaneConverter(info).add_residual(planes, _residual(info, 0.5, 0.5, 0.5))
    assert after[3] is planes[3]


def test_chroma_lies_on_the_left_sample_by_default() -> None:
    info = video_info("yuv422p", height=1, width=4)
    planes = [*_flat(info, 128, 128, 128)]
    planes[2] = torch.tensor([[128, 148]], dtype=torch.uint8)
    red = PlaneConverter(info).to_rgb(planes)[0, 0, 0]
    change = (red - red[0]) / (red[2] - red[0])
    assert change.tolist() == pytest.approx([0, 0.5, 1, 1], abs=1e-4)


def test_chroma_lies_in_the_middle_in_the_formats_of_jpeg() -> None:
    info = video_info("yuvj422p", height=1, width=4)
    planes = [*_flat(info, 128, 128, 128)]
    planes[2] = torch.tensor([[128, 148]], dtype=torch.uint8)
    red = PlaneConverter(info).to_rgb(planes)[0, 0, 0]
    change = (red - red[0]) / (red[3] - red[0])
    assert change.tolist() == pytest.approx([0, 0.25, 0.75, 1], abs=1e-4)


def test_chroma_sample_gets_the_average_of_its_group() -> None:
    info = video_info("yuvj420p", height=3, width=3, colour=BT709_FULL)
    residual = torch.zeros(1, 3, 3, 3)
    residual[0, 2, 0, 0] = 0.4  # blue: a quarter of it counts in a group of four
    residual[0, 2, 2, 2] = 0.1  # all of it where the group is one sample
    after = PlaneConverter(info).add_residual(_flat(info, 100, 100, 100), residual)
    assert after[1].tolist() == [[113, 100], [100, 113]]  # 0.1 / 2 · 255


@pytest.mark.parametrize(
    ("name", "width", "shares"),
    [
        ("yuv422p", 5, [[3, 1, 0, 0, 0], [0, 1, 2, 1, 0], [0, 0, 0, 1, 3]]),
        ("yuv422p", 4, [[3, 1, 0, 0], [0, 1, 2, 1]]),
        ("yuv422p", 1, [[4]]),
        ("yuv411p", 8, [[10, 3, 2, 1, 0, 0, 0, 0], [0, 1, 2, 3, 4, 3, 2, 1]]),
        ("yuvj422p", 5, [[2, 2, 0, 0, 0], [0, 0, 2, 2, 0], [0, 0, 0, 0, 4]]),
    ],
)
def test_chroma_sample_gets_the_weighted_average_around_its_place(
    name: str, width: int, shares: list[list[int]]
) -> None:
    converter = PlaneConverter(video_info(name, height=1, width=width))
    found = torch.stack(
        [converter._downsample_to_chroma(row[None, None])[0, 0] for row in torch.eye(width)], dim=1
    )
    whole = 16 if name == "yuv411p" else 4
    assert found.tolist() == [[share / whole for share in row] for row in shares]


@pytest.mark.parametrize("name", ["yuv420p", "yuv422p", "yuv411p", "yuv440p", "yuvj420p"])
@pytest.mark.parametrize("size", [(48, 64), (47, 63)])
def test_gradient_keeps_its_place_through_down_and_upsampling(
    name: str, size: tuple[int, int]
) -> None:
    info = video_info(name, height=size[0], width=size[1])
    converter, (across, down) = PlaneConverter(info), info.format.chroma_shift
    rows, columns = (torch.arange(side).float() for side in size)
    slope = rows[:, None] + columns
    again = converter._upsample_chroma(
        converter._downsample_to_chroma(slope[None]).expand(2, -1, -1)
    )[0]
    margin = 2 << max(across, down)  # there is nothing beyond the edges to average with
    inside = (slice(margin, -margin), slice(margin, -margin))
    assert torch.allclose(again[: size[0], : size[1]][inside], slope[inside], atol=1e-4)


def test_matrix_of_an_untagged_stream_is_guessed_by_its_size() -> None:
    small = video_info("yuv444p", height=2, width=1278)
    large = replace(small, width=1280)
    planes = _flat(small, 100, 128, 200)
    assert not PlaneConverter(small).to_rgb(planes).equal(PlaneConverter(large).to_rgb(planes))


def test_image_is_rgb_with_channels_last() -> None:
    info = video_info("gbrp", height=1, width=2)
    green, blue, red = ([[10, 20]], [[30, 40]], [[50, 60]])
    planes = [np.array(plane, np.uint8) for plane in (green, blue, red)]
    image = PlaneConverter(info).to_image(planes)
    assert image.tolist() == [[[50, 10, 30], [60, 20, 40]]]
