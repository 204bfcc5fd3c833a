"""The layers of `lfdn.cuda`: convolutions and blocks of padded channels, in few, large kernels.

Features are `[B, C, H, W]`, channels last, where nothing else is said.
"""

from collections.abc import Sequence
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lfdn.algebra import BlockAlgebra, fold_identity, get_bias, make_tridiagonal, multiply
from lfdn.model import FDNB, AttentionFusion, DownBlock, ResBlock, UpBlock
from lfdn.padded import (
    Channels,
    bound_relu,
    make_entry_input,
    pack_entry,
    pack_linear,
    pack_relu,
    place,
)
from lfdn.winograd import reorder_for_pixel_shuffle

GRAM_CHUNKS = 64
"""Parts of an image whose products are computed apart: enough to occupy a GPU."""
LARGEST = 6e4
"""Values up to this one are finite in float16."""
CLOSED = -1e4
"""Logit of a gate that lets nothing through, exactly, in every floating-point type."""
WORD_BYTES = 16

_HALF_TYPES = (torch.float16, torch.bfloat16)


class Conv(nn.Module):
    """A 3x3 convolution without ReLU; its bias comes from the input's channel of ones."""

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor,
        inputs: Channels,
        outputs: Channels,
        dtype: torch.dtype,
        *,
        emit: bool = False,
    ) -> None:
        super().__init__()
        kernel = pack_linear(weight, bias, inputs, outputs, emit=emit)
        self.register_buffer("kernel", _prepare(kernel, dtype))

    def forward(self, features: Tensor) -> Tensor:
        return F.conv2d(features, self.get_buffer("kernel"), padding=1)


class ReluConv(nn.Module):
    """A 3x3 convolution with ReLU.

    Args:
        kernel: `[O, I, 3, 3]`, with padded channels.
        bias: `[O]`, with padded channels.
        dtype: Type of the features.
        stride: Of the convolution, in px.
        keep_nan: The fused kernel may turn NaN, which follows infinity, into 0. If True, it is not
            used, so that an overflow is noticed; not needed where the input reaches the output of
            the network on another path too.
    """

    def __init__(
        self,
        kernel: Tensor,
        bias: Tensor,
        dtype: torch.dtype,
        *,
        stride: int = 1,
        keep_nan: bool = False,
    ) -> None:
        super().__init__()
        self.register_buffer("kernel", _prepare(kernel, dtype))
        self.register_buffer("bias", bias.to(dtype))
        self._stride = stride
        # Weights that are infinite in float16 make NaN of a zero.
        finite = bool(self.get_buffer("kernel").isfinite().all())
        self.keep_nan = (keep_nan or not finite) and dtype == torch.float16

    def forward(self, features: Tensor) -> Tensor:
        kernel, bias, stride = self.get_buffer("kernel"), self.get_buffer("bias"), self._stride
        if self.keep_nan or not _has_fused_relu(features.device, features.dtype):
            return F.conv2d(features, kernel, bias, stride, 1).relu_()
        out: Tensor = torch.cudnn_convolution_relu(
            features, kernel, bias, (stride, stride), (1, 1), (1, 1), 1
        )
        return out


class Entry(nn.Module):
    """Head and first downblock: `[B, 3, H, W]` to f1."""

    def __init__(
        self, head: nn.Conv2d, down: DownBlock, w0: Channels, w1: Channels, dtype: torch.dtype
    ) -> None:
        super().__init__()
        kernel, bias = pack_entry(head, down.reduce, w0)
        bound = bound_relu(kernel, bias, torch.ones(kernel.shape[1], dtype=kernel.dtype))
        self.first = ReluConv(kernel, bias, dtype)
        kernel, bias = pack_relu(down.refine, w0, w1)
        self.refine = ReluConv(kernel, bias, dtype, keep_nan=bool(bound.max() > LARGEST))
        self.bound = bound_relu(kernel, bias, bound)
        """Upper bounds of f1, whatever the image, `[C]`."""
        self._dtype = dtype

    def forward(self, pixels: Tensor) -> Tensor:
        features = make_entry_input(pixels, self._dtype).permute(0, 3, 1, 2)
        out: Tensor = self.refine(self.first(features))
        return out


class Down(nn.Module):
    """A downblock. `bound`: upper bounds of its input, which has no other path; None: it has."""

    def __init__(
        self,
        block: DownBlock,
        inputs: Channels,
        outputs: Channels,
        dtype: torch.dtype,
        *,
        bound: Tensor | None = None,
    ) -> None:
        super().__init__()
        kernel, bias = pack_relu(block.reduce, inputs, inputs)
        unsafe = bound is not None and bool(bound.max() > LARGEST)
        self.reduce = ReluConv(kernel, bias, dtype, stride=2, keep_nan=unsafe)
        safe = bound is not None and bool(bound_relu(kernel, bias, bound).max() <= LARGEST)
        kernel, bias = pack_relu(block.refine, inputs, outputs)
        self.refine = ReluConv(kernel, bias, dtype, keep_nan=not safe)

    def forward(self, features: Tensor) -> Tensor:
        out: Tensor = self.refine(self.reduce(features))
        return out


class Res(nn.Module):
    """A residual block."""

    def __init__(
        self, block: ResBlock, channels: Channels, dtype: torch.dtype, *, emit: bool
    ) -> None:
        super().__init__()
        first, second = block.conv_1, block.conv_2
        self.conv_1 = ReluConv(*pack_relu(first, channels, channels, emit=True), dtype)
        self.conv_2 = Conv(second.weight, get_bias(second), channels, channels, dtype, emit=emit)

    def forward(self, features: Tensor) -> Tensor:
        out: Tensor = self.conv_2(self.conv_1(features))
        return out.add_(features)


class Up(nn.Module):
    """An upblock, `[B, I, H, W]` to `[B, O, 2H, 2W]`, and the sum with `features`, if given."""

    def __init__(
        self, block: UpBlock, inputs: Channels, outputs: Channels, dtype: torch.dtype
    ) -> None:
        super().__init__()
        weight, bias = (
            reorder_for_pixel_shuffle(each) for each in (block.conv.weight, get_bias(block.conv))
        )
        self.conv = Conv(weight, bias, inputs, outputs.repeat(4), dtype)

    def forward(self, features: Tensor, addend: Tensor | None = None) -> Tensor:
        batch, _, height, width = features.shape
        phases = as_rows(self.conv(features)).view(batch, height, width, 2, 2, -1)
        shuffled = phases.transpose(2, 3)
        out = torch.empty(shuffled.shape, dtype=phases.dtype, device=phases.device)
        if addend is None:
            _as_words(out).copy_(_as_words(shuffled))
        else:
            torch.add(as_rows(addend).view(out.shape), shuffled, out=out)
        return out.view(batch, 2 * height, 2 * width, -1).permute(0, 3, 1, 2)


class Block(nn.Module):
    """An FDNB. Of its u, `BlockAlgebra` gets all but the right half of x, which comes first.

    u is [x, coarse_1, coarse_2, coarse_4], where x is [right, left]; 1 is the last, padded channel
    of coarse_1. `emit`: x + … gets a channel of ones.
    """

    def __init__(self, block: FDNB, channels: Channels, dtype: torch.dtype, *, emit: bool) -> None:
        super().__init__()
        real = block.coarse_4.in_channels
        half = Channels(tuple(range(real)), channels.padded // 2)
        self._half = half.padded
        size = 4 * half.padded
        # The left half has no weights here: that is cheaper than a copy of the right one.
        right = Channels(half.places, channels.padded)
        self.coarse_1 = ReluConv(
            *pack_relu(fold_identity(block.coarse_1), right, half, emit=True), dtype
        )
        self.coarse_2 = ReluConv(*pack_relu(fold_identity(block.coarse_2), half, half), dtype)
        self.coarse_3 = ReluConv(
            *pack_relu(fold_identity(block.coarse_3), half, half, emit=True), dtype
        )
        last = block.coarse_4
        self.coarse_4 = Conv(last.weight, get_bias(last), half, half, dtype)
        one = half.padded + half.one
        self.algebra = BlockAlgebra(
            block,
            starts=range(0, size, half.padded),
            one=one,
            size=size,
            outputs=channels.places,
            output_size=channels.padded,
        )
        base = block.merge.weight.new_zeros(channels.padded, half.padded + size)
        base[channels.places, channels.places] = 1  # x + …
        if emit:
            base[channels.one, half.padded + one] = 1
        self.register_buffer("base", base)

    def forward(self, features: Tensor) -> Tensor:
        coarse_1 = self.coarse_1(features)
        coarse_2 = self.coarse_2(coarse_1)
        coarse_4 = self.coarse_4(self.coarse_3(coarse_2))
        u = _concatenate([features, coarse_1, coarse_2, coarse_4])
        batch, height, width, _ = u.shape
        gram = compute_gram(u, first=self._half)
        matrix, gain = self.algebra(gram, height * width)
        base = self.get_buffer("base")
        kernel = base.new_empty(batch, *base.shape, dtype=u.dtype).copy_(base)
        torch.addcmul(base[:, self._half :], matrix, gain, out=kernel[..., self._half :])
        out = torch.bmm(u.flatten(1, 2), kernel.transpose(1, 2))
        return out.view(batch, height, width, -1).permute(0, 3, 1, 2)


class Fusion(nn.Module):
    """ALFM and the convolution after it, and ACFM: f_l + f_c."""

    def __init__(
        self,
        fusion: AttentionFusion,
        channels: Channels,
        blocks: int,
        gram: str,
        dtype: torch.dtype,
    ) -> None:
        super().__init__()
        group = channels.repeat(blocks)
        weight = fusion.reduce.weight
        kernel = place(weight, group, channels).permute(0, 2, 3, 1).contiguous()
        self.register_buffer("kernel", kernel)  # [O, 3, 3, N·C]
        base = kernel.clone()  # ALFM adds its input
        last = (blocks - 1) * channels.padded
        base[list(channels.places), 1, 1, last + channels.one] += get_bias(fusion.reduce)
        # f_c is x + α · gate · x: its first term is part of the convolution too.
        base[list(channels.places), 1, 1, [last + each for each in channels.places]] += 1
        self.register_buffer("base", base)
        mask = torch.full((group.padded,), -torch.inf, dtype=weight.dtype)
        mask[list(group.places)] = 0
        self.register_buffer("mask", mask)
        self._theta = float(fusion.alfm.theta)
        self._mean = gram == "mean"
        self._alpha = float(fusion.acfm.alpha)
        self._build_gate(fusion, channels, dtype)

    def _build_gate(self, fusion: AttentionFusion, channels: Channels, dtype: torch.dtype) -> None:
        acfm, count = fusion.acfm, len(channels.places)
        spatial = torch.diag_embed(acfm.spatial.weight.view(3, 3, 1).expand(3, 3, count))
        self.spatial = ReluConv(
            place(spatial.permute(2, 3, 0, 1), channels, channels),
            channels.scatter(get_bias(acfm.spatial).expand(count)),
            dtype,
        )
        across = place(make_tridiagonal(acfm, count)[..., None, None], channels, channels)
        self.register_buffer("across", across[..., 0, 0].to(dtype))
        bias = channels.scatter(get_bias(acfm.across).expand(count), rest=CLOSED)
        self.register_buffer("across_bias", bias.to(dtype))

    def forward(self, outputs: Sequence[Tensor]) -> Tensor:
        last = outputs[-1]
        group = _concatenate(outputs)
        gate = F.linear(
            as_rows(self.spatial(last)), self.get_buffer("across"), self.get_buffer("across_bias")
        ).sigmoid_()
        kernels = self._compute_kernels(group)
        group, gate = group.permute(0, 3, 1, 2), gate.permute(0, 3, 1, 2)
        fused = [
            # One by one, as each image has a kernel of its own.
            F.conv2d(group[index : index + 1], kernel, padding=1)
            for index, kernel in enumerate(kernels)
        ]
        if len(fused) == 1:
            return torch.addcmul(fused[0], gate, last, value=self._alpha)
        out = torch.empty_like(last)
        for index, part in enumerate(fused):
            one = slice(index, index + 1)
            torch.addcmul(part, gate[one], last[one], value=self._alpha, out=out[one])
        return out

    def _compute_kernels(self, group: Tensor) -> Tensor:
        """Compute each image's kernel, `[B, O, N·C, 3, 3]`, channels last."""
        batch, height, width, channels = group.shape
        scale = 1 / (height * width) if self._mean else 1.0
        logits = torch.add(self.get_buffer("mask"), compute_gram(group), alpha=scale)
        attention = torch.softmax(logits, dim=2)
        kernel, base = self.get_buffer("kernel"), self.get_buffer("base")
        mixed = multiply(kernel.view(-1, channels), attention)
        kernels = torch.add(base, mixed.view(batch, *base.shape), alpha=self._theta)
        return kernels.to(group.dtype).permute(0, 1, 4, 2, 3)


def compute_gram(features: Tensor, *, first: int = 0) -> Tensor:
    """Compute the sums of f fᵀ over the positions of each image, in float32 or better.

    Args:
        features: `[B, H, W, C]`, contiguous.
        first: The first channel to use.

    Returns:
        `[B, C - first, C - first]`.
    """
    batch, height, width, channels = features.shape
    count = height * width
    # Fewer where a product is larger: it occupies more of the GPU, and is more to sum up.
    limit = min(GRAM_CHUNKS, max(1, GRAM_CHUNKS * 128 // (channels - first)))
    chunks = next(each for each in (64, 32, 16, 8, 4, 2, 1) if each <= limit and count % each == 0)
    rows = features.view(batch * chunks, count // chunks, channels)[..., first:]
    products = _multiply_exactly(rows.transpose(1, 2), rows)
    return products.view(batch, chunks, *products.shape[1:]).sum(dim=1)


def _multiply_exactly(left: Tensor, right: Tensor) -> Tensor:
    """Multiply batches of matrices; in half precision, the result is in float32."""
    if left.dtype not in _HALF_TYPES:
        return torch.bmm(left, right)
    if left.is_cuda and _has_out_dtype():
        return torch.bmm(left, right, out_dtype=torch.float32)
    return torch.bmm(left.float(), right.float())


@cache
def _has_out_dtype() -> bool:
    """Tell whether this PyTorch (2.8 and later) multiplies into another type."""
    major, minor = (int(part) for part in torch.__version__.split(".")[:2])
    return (major, minor) >= (2, 8)


@cache
def _has_fused_relu(device: torch.device, dtype: torch.dtype) -> bool:
    """Tell whether cuDNN has a convolution with ReLU for this type, by trying."""
    if device.type != "cuda" or torch.version.cuda is None:
        return False
    image = torch.zeros(1, 16, 8, 8, dtype=dtype, device=device)
    kernel = torch.zeros(16, 16, 3, 3, dtype=dtype, device=device)
    image, kernel = (x.to(memory_format=torch.channels_last) for x in (image, kernel))
    try:
        torch.cudnn_convolution_relu(image, kernel, image[0, :, 0, 0], (1, 1), (1, 1), (1, 1), 1)
    except RuntimeError:
        return False
    return True


def _prepare(kernel: Tensor, dtype: torch.dtype) -> Tensor:
    return kernel.to(dtype).contiguous(memory_format=torch.channels_last)


def as_rows(features: Tensor) -> Tensor:
    """View features as `[B, H, W, C]`, contiguous."""
    return features.permute(0, 2, 3, 1).contiguous()


def _as_words(features: Tensor) -> Tensor:
    """View features `[…, C]` in words of 16 bytes, for copies in fewer, larger steps."""
    if features.shape[-1] * features.element_size() % WORD_BYTES:
        return features
    return features.view(torch.complex128)


def _concatenate(features: Sequence[Tensor]) -> Tensor:
    """Concatenate `[B, C, H, W]`, channels last, to `[B, H, W, ΣC]`."""
    parts = [_as_words(as_rows(each)) for each in features]
    return torch.cat(parts, dim=3).view(features[0].dtype)
