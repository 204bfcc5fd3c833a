"""The network's forward pass with channels padded to multiples of 8, for the tensor cores of a GPU.

Parameters stay as they are, and get their gradients; their padded copies are made in each pass. The
padded channels of features are zero, except within the fusion, whose next convolution ignores them.
The result is that of `LFDN.forward` except for rounding.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lfdn.model import (
    ALFM,
    FDNB,
    LFDN,
    MSHF,
    NORM_EPSILON,
    STRIDE_PX,
    AttentionFusion,
    DownBlock,
    ResBlock,
    UpBlock,
    _disable_autocast,
    compute_moments,
    pad_to_multiple,
)

MULTIPLE = 8


class Layout(NamedTuple):
    """How channels are padded: `parts` times `own` channels, each time padded to `padded`."""

    parts: int
    own: int
    padded: int

    def repeat(self, times: int) -> "Layout":
        """Return the layout of several such groups of channels after each other."""
        return Layout(times * self.parts, self.own, self.padded)

    def unshuffle(self) -> "Layout":
        """Return the layout before a pixel shuffle, where each channel is four."""
        return Layout(self.parts, 4 * self.own, 4 * self.padded)


def plain(channels: int) -> Layout:
    """Pad at the end."""
    return Layout(1, channels, channels + -channels % MULTIPLE)


def halves(channels: int) -> Layout:
    """Pad each half, so that halves can be taken apart."""
    half = channels // 2
    return Layout(2, half, half + -half % MULTIPLE)


def as_is(channels: int) -> Layout:
    """Do not pad."""
    return Layout(1, channels, channels)


def supports(network: LFDN) -> bool:
    """Return True for the paper's network, of any widths."""
    config = network.config
    parts = (config.encoder, config.block, config.fusion, config.gram)
    return parts == ("mshf", "fdnb", "attention", "mean")


def forward(network: LFDN, image: Tensor) -> Tensor:
    """Compute `network(image)`.

    Args:
        network: One that is supported.
        image: `[B, 3, H, W]` in 0…1.

    Returns:
        The restored images, like `image`.
    """
    config = network.config
    w0, channels = config.widths[0], config.channels
    features = pad_to_multiple(image, STRIDE_PX)
    features = _convolve(network.head, features, as_is(3), plain(w0))
    assert isinstance(network.encoder, MSHF)
    features = _encode(network.encoder, features, config.widths)
    outputs = []
    for block in network.blocks:
        assert isinstance(block, FDNB)
        features = _distil(block, features, channels)
        outputs.append(features)
    assert isinstance(network.fusion, AttentionFusion)
    features = _fuse(network.fusion, outputs, channels)
    first, up, second, tail = network.decoder
    assert isinstance(first, ResBlock)
    assert isinstance(up, UpBlock)
    assert isinstance(second, ResBlock)
    assert isinstance(tail, UpBlock)
    features = _add_block(first, features, plain(channels))
    features = _enlarge(up, features, plain(channels), plain(channels))
    features = _add_block(second, features, plain(channels))
    out = _enlarge(tail, features, plain(channels), as_is(3))
    out = out[..., : image.shape[-2], : image.shape[-1]]
    return image + out if config.residual else out


def _convolve(conv: nn.Conv2d, features: Tensor, inputs: Layout, outputs: Layout) -> Tensor:
    weight, bias = conv.weight, conv.bias
    assert bias is not None
    more_in, more_out = inputs.padded - inputs.own, outputs.padded - outputs.own
    if more_in or more_out:
        sides = weight.shape[2:]
        weight = weight.reshape(outputs.parts, outputs.own, inputs.parts, inputs.own, *sides)
        weight = F.pad(weight, (0, 0, 0, 0, 0, more_in, 0, 0, 0, more_out))
        weight = weight.reshape(
            outputs.parts * outputs.padded, inputs.parts * inputs.padded, *sides
        ).contiguous(memory_format=torch.channels_last)
        bias = F.pad(bias.view(outputs.parts, outputs.own), (0, more_out)).flatten()
    return F.conv2d(features, weight, bias, conv.stride, conv.padding)


def _add_block(block: ResBlock, features: Tensor, layout: Layout) -> Tensor:
    hidden = F.relu(_convolve(block.conv_1, features, layout, layout))
    return _convolve(block.conv_2, hidden, layout, layout) + features


def _reduce(block: DownBlock, features: Tensor, inputs: Layout, outputs: Layout) -> Tensor:
    hidden = F.relu(_convolve(block.reduce, features, inputs, inputs))
    return F.relu(_convolve(block.refine, hidden, inputs, outputs))


def _enlarge(block: UpBlock, features: Tensor, inputs: Layout, outputs: Layout) -> Tensor:
    return F.pixel_shuffle(_convolve(block.conv, features, inputs, outputs.unshuffle()), 2)


def _encode(encoder: MSHF, f0: Tensor, widths: tuple[int, int, int, int, int]) -> Tensor:
    w0, w1, w3, w4 = (plain(widths[level]) for level in (0, 1, 3, 4))
    w2 = halves(widths[2])
    f1 = _reduce(encoder.down_1, f0, w0, w1)
    f2 = _add_block(encoder.res_2, _reduce(encoder.down_2, f1, w1, w2), w2)
    f3 = _add_block(encoder.res_3, _reduce(encoder.down_3, f2, w2, w3), w3)
    f4 = _add_block(encoder.res_4, _reduce(encoder.down_4, f3, w3, w4), w4)
    f3 = _add_block(encoder.fuse_3, f3 + _enlarge(encoder.up_4, f4, w4, w3), w3)
    return _add_block(encoder.fuse_2, f2 + _enlarge(encoder.up_3, f3, w3, w2), w2)


def _distil(block: FDNB, features: Tensor, channels: int) -> Tensor:
    both = halves(channels)
    half = Layout(1, both.own, both.padded)
    left, coarse = features.chunk(2, dim=1)
    parts = [block.norm(_convolve(block.distil_1, left, half, half))]
    coarse = F.relu(_convolve(block.coarse_1, coarse, half, half) + coarse)
    parts.append(block.norm(_convolve(block.distil_2, coarse, half, half)))
    coarse = F.relu(_convolve(block.coarse_2, coarse, half, half) + coarse)
    parts.append(block.norm(_convolve(block.distil_3, coarse, half, half)))
    coarse = F.relu(_convolve(block.coarse_3, coarse, half, half) + coarse)
    parts.append(_convolve(block.coarse_4, coarse, half, half))
    merged = _convolve(block.merge, torch.cat(parts, dim=1), half.repeat(4), both)
    # Of a padded channel the weights to the squeezed ones are zero, whatever its contrast is.
    mean, variance = compute_moments(merged)
    contrast = ((variance + NORM_EPSILON).sqrt() + mean).to(merged.dtype)
    few = as_is(block.attention.squeeze.out_channels)
    squeezed = F.relu(_convolve(block.attention.squeeze, contrast, both, few))
    gain = torch.sigmoid(_convolve(block.attention.excite, squeezed, few, both))
    return merged * gain + features


def _strip(features: Tensor, layout: Layout) -> Tensor:
    """Take out the true channels."""
    batch, _, *sides = features.shape
    parts = features.reshape(batch, layout.parts, layout.padded, *sides)
    return parts[:, :, : layout.own].flatten(1, 2)


def _pad_features(features: Tensor, layout: Layout) -> Tensor:
    """Insert channels of zeros."""
    batch, _, *sides = features.shape
    parts = features.reshape(batch, layout.parts, layout.own, *sides)
    padding = (0, 0, 0, 0, 0, layout.padded - layout.own)
    return F.pad(parts, padding).flatten(1, 2)


def _fuse(fusion: AttentionFusion, outputs: list[Tensor], channels: int) -> Tensor:
    both, out = halves(channels), plain(channels)
    every = both.repeat(len(outputs))
    mixed = _mix(fusion.alfm, torch.cat(outputs, dim=1), every)
    local = fusion.acfm(_strip(outputs[-1], both))  # it goes across the channels, in order
    return _convolve(fusion.reduce, mixed, every, out) + _pad_features(local, out)


def _mix(alfm: ALFM, group: Tensor, layout: Layout) -> Tensor:
    """Compute the ALFM, in which padded channels have no say."""
    rows = group.flatten(2)
    silent = torch.zeros(layout.parts, layout.padded, device=group.device)
    silent[:, layout.own :].fill_(-torch.inf)  # assigning would copy from the CPU
    with _disable_autocast(group.device.type):
        exact = rows.to(torch.promote_types(rows.dtype, torch.float32)) / rows.shape[2] ** 0.5
        attention = torch.softmax(exact @ exact.transpose(1, 2) + silent.flatten(), dim=2)
    mixed = (attention.to(rows.dtype) @ rows).view_as(group)
    return alfm.theta * mixed + group
