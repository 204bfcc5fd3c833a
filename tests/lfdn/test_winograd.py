"""`RowConv` agrees with an ordinary convolution."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from lfdn.winograd import RowConv, Scratch

ROUNDING = 1e-4
"""For values up to about 5."""


def direct(image: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Apply an ordinary convolution; the result is `[1, O, H, W]`."""
    return F.conv2d(image.permute(2, 0, 1)[None], weight, bias, padding=1)


def rows(image: Tensor) -> Tensor:
    return image[0].permute(1, 2, 0).contiguous()


@pytest.fixture
def layer() -> tuple[Tensor, Tensor]:
    """Weight and bias of a convolution from 5 to 8 channels."""
    return torch.randn(8, 5, 3, 3) / 4, torch.randn(8)


@pytest.mark.parametrize("height", [*range(1, 14), 40])
@pytest.mark.parametrize("width", [1, 2, 9])
def test_any_size_agrees(height: int, width: int, layer: tuple[Tensor, Tensor]) -> None:
    image = torch.randn(height, width, 5)
    found = RowConv(*layer, Scratch())(image, torch.empty(height, width, 8))
    torch.testing.assert_close(found, rows(direct(image, *layer)), atol=ROUNDING, rtol=0)


def test_several_bands_agree(monkeypatch: pytest.MonkeyPatch, layer: tuple[Tensor, Tensor]) -> None:
    monkeypatch.setattr("lfdn.winograd.BAND_TILES_PX", 20)
    image = torch.randn(71, 9, 5)
    found = RowConv(*layer, Scratch())(image, torch.empty(71, 9, 8), relu=True)
    torch.testing.assert_close(found, rows(direct(image, *layer)).relu(), atol=ROUNDING, rtol=0)


def test_add_adds_to_the_output(layer: tuple[Tensor, Tensor]) -> None:
    image, before = torch.randn(10, 7, 5), torch.randn(10, 7, 8)
    found = RowConv(*layer, Scratch())(image, before.clone(), add=True)
    expected = rows(direct(image, *layer)) + before
    torch.testing.assert_close(found, expected, atol=ROUNDING, rtol=0)


@pytest.mark.parametrize("add", [False, True])
def test_pixel_shuffle_is_included(add: bool, layer: tuple[Tensor, Tensor]) -> None:
    image, before = torch.randn(6, 7, 5), torch.ones(12, 14, 2)
    found = RowConv(*layer, Scratch(), pixel_shuffle=True)(image, before.clone(), add=add)
    expected = rows(F.pixel_shuffle(direct(image, *layer), 2)) + (before if add else 0)
    torch.testing.assert_close(found, expected, atol=ROUNDING, rtol=0)


def test_bias_may_be_missing(layer: tuple[Tensor, Tensor]) -> None:
    image = torch.randn(5, 6, 5)
    found = RowConv(layer[0], None, Scratch())(image, torch.empty(5, 6, 8))
    torch.testing.assert_close(found, rows(direct(image, layer[0], None)), atol=ROUNDING, rtol=0)


def test_scratch_buffers_are_reused_and_grow() -> None:
    scratch = Scratch()
    first = scratch.get_buffer("a", 2, 3)
    assert scratch.get_buffer("a", 6).data_ptr() == first.data_ptr()
    assert scratch.get_buffer("a", 5, 5).shape == (5, 5)
    assert scratch.get_buffer("b", 6).data_ptr() != scratch.get_buffer("a", 6).data_ptr()
