"""The same network for inference on a CPU: the same result but for rounding, in less time.

`rearranged(network)` gives a module with the contract of `LFDN.forward`. What it does differently
is all linear algebra; nothing is approximated. What stands in `lfdn.model`, and what is computed
instead:

    3x3 convolutions           Half of the multiplications (`rowconv.py`), but for the narrow ones.
    head, first strided conv   One 5x5 convolution of stride 2. Nothing stands between the two, so
                               the tensor of full size with 50 channels never exists. Its first row
                               and column, where the zeros around it matter, are computed apart.
    conv(x) + x in an FDNB     One convolution, with 1 added in the middle of its kernel.
    FDNB after its 3x3 convs   Distil, norm, merge and CCA are affine in u `[N, 2C]`, the features
                               they work on, with factors that depend on u's mean and covariance
                               alone. Those are one product, the block's output is another.
    ALFM, then a 3x3 conv      theta * attention + 1 is a 1x1 convolution; it is multiplied into the
                               kernel of the convolution behind it.
    ACFM across channels       A 1x1 convolution with a tridiagonal kernel.
    pixel shuffle              Rows are written where they belong in the picture of twice the size.
    sums, ReLU                 In place, while the rows are in the cache.

Pictures are `[H, W, C]` on the way. The largest ones live in memory that is used again for the next
picture, of each thread's own: several may run this at once. Only networks of the default's parts
are rearranged; others come back as they are. Pictures of a batch are done one by one, as the
kernels depend on the picture. Float32, without autocast.
"""

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lfdn.model import (
    ACFM,
    FDNB,
    LFDN,
    MSHF,
    NORM_EPSILON,
    STRIDE_PX,
    AttentionFusion,
    DownBlock,
    ResBlock,
    UpBlock,
    pad_to_multiple,
)
from lfdn.winograd import RowConv, Scratch, shuffled

ENTRY_BAND_ROWS = 40  # of the first convolution's result; few enough to stay in the cache


def rearranged(network: LFDN) -> nn.Module:
    """`network` in eval mode for inference, its own weights copied; or itself, if it is another."""
    usual = network.config.encoder == "mshf" and network.config.block == "fdnb"
    if not usual or network.config.fusion != "attention":
        return network
    return Rearranged(network)


def first_two_as_one(head: nn.Conv2d, reduce: nn.Conv2d, *, padding: int = 0) -> nn.Conv2d:
    """The 5x5 convolution that is `head`, then `reduce`, but for the first row and column."""
    first, second = head.weight.double(), reduce.weight.double()
    # The composition of two correlations is the full convolution of their kernels.
    kernel = F.conv_transpose2d(second, first)
    bias = second.sum(dim=(2, 3)) @ _bias(head).double() + _bias(reduce).double()
    both = nn.Conv2d(head.in_channels, reduce.out_channels, 5, stride=2, padding=padding)
    _fill(both, kernel, bias)
    return both


class Rearranged(nn.Module):
    """See `rearranged`."""

    @torch.no_grad()
    def __init__(self, network: LFDN) -> None:
        super().__init__()
        self._scratch = scratch = Scratch()
        encoder = cast("MSHF", network.encoder)
        self.entry = _Entry(network.head, encoder.down_1, scratch)
        self._down_2, self._down_3, self._down_4 = (
            _Down(block, scratch) for block in (encoder.down_2, encoder.down_3, encoder.down_4)
        )
        self._res_2, self._res_3, self._res_4, self._fuse_3, self._fuse_2 = (
            _Res(block, scratch)
            for block in (
                *(encoder.res_2, encoder.res_3, encoder.res_4),
                *(encoder.fuse_3, encoder.fuse_2),
            )
        )
        self._up_4, self._up_3 = (_up(block, scratch) for block in (encoder.up_4, encoder.up_3))
        self.blocks = nn.ModuleList(
            _Block(cast("FDNB", block), scratch) for block in network.blocks
        )
        self.fusion = _Fusion(cast("AttentionFusion", network.fusion), network.config.gram, scratch)
        first, up, second, tail = network.decoder
        self._first, self._second = (
            _Res(cast("ResBlock", block), scratch) for block in (first, second)
        )
        self._up = _up(cast("UpBlock", up), scratch)
        self.tail = _copied(cast("UpBlock", tail).conv)
        _fill(self.tail, shuffled(self.tail.weight), shuffled(_bias(self.tail)))
        self._channels = network.config.channels
        self._residual = network.config.residual

    @torch.inference_mode()
    def forward(self, image: Tensor) -> Tensor:
        restored = [self._one(image[index : index + 1]) for index in range(len(image))]
        return restored[0] if len(restored) == 1 else torch.cat(restored)

    def _one(self, image: Tensor) -> Tensor:
        picture = pad_to_multiple(image, STRIDE_PX)[0].permute(1, 2, 0).contiguous()
        f2 = self._res_2(self._down_2(self.entry(picture)))
        f3 = self._res_3(self._down_3(f2))
        f4 = self._res_4(self._down_4(f3))
        f3 = self._fuse_3(self._up_4(f4, f3, add=True))
        features = self._fuse_2(self._up_3(f3, f2, add=True))
        height, width, channels = features.shape
        group = self._scratch.take("group", height, width, len(self.blocks) * channels)
        for index, block in enumerate(self.blocks):
            out = group[..., index * channels : (index + 1) * channels]
            features = block(features, out)
        fused = self._first(self.fusion(group, features))
        large = self._scratch.take("half a", 2 * height, 2 * width, channels)
        change = _conv(self.tail, self._second(self._up(fused, large)))
        restored = self._enlarged(change, picture)[: image.shape[2], : image.shape[3]]
        return restored.permute(2, 0, 1)[None]

    def _enlarged(self, change: Tensor, picture: Tensor) -> Tensor:
        """The tail's pixel shuffle, and the sum."""
        height, width, _ = change.shape
        pixels = change.view(height, width, 2, -1).transpose(1, 2)
        restored = torch.empty_like(picture)
        shape = (height, 2, width, -1)
        if self._residual:
            torch.add(picture.view(shape), pixels, out=restored.view(shape))
        else:
            restored.view(shape).copy_(pixels)
        return restored


class _Entry(nn.Module):
    """f1 of the picture: head and first downblock."""

    def __init__(self, head: nn.Conv2d, down: DownBlock, scratch: Scratch) -> None:
        super().__init__()
        self.head, self.reduce = head, down.reduce
        self.both = first_two_as_one(head, down.reduce)
        self._refine, self._scratch = _row_conv(down.refine, scratch), scratch

    def forward(self, picture: Tensor) -> Tensor:
        height, width = picture.shape[0] // 2, picture.shape[1] // 2
        reduced = self._scratch.take("half a", height, width, self.both.out_channels)
        around = F.pad(picture, (0, 0, 2, 2, 2, 2))
        for top in range(0, height, ENTRY_BAND_ROWS):
            bottom = min(top + ENTRY_BAND_ROWS, height)
            band = _conv(self.both, around[2 * top : 2 * bottom + 3])
            torch.clamp_min(band, 0, out=reduced[top:bottom])
        reduced[:1] = _conv(self.reduce, _conv(self.head, picture[:3])[:2]).relu_()
        reduced[:, :1] = _conv(self.reduce, _conv(self.head, picture[:, :3])[:, :2]).relu_()
        refined = self._scratch.take("half b", height, width, self._refine.outputs)
        return self._refine(reduced, refined, relu=True)


class _Down(nn.Module):
    """A downblock."""

    def __init__(self, block: DownBlock, scratch: Scratch) -> None:
        super().__init__()
        self.reduce, self._refine = block.reduce, _row_conv(block.refine, scratch)

    def forward(self, features: Tensor) -> Tensor:
        reduced = _conv(self.reduce, features).relu_()
        out = reduced.new_empty(*reduced.shape[:2], self._refine.outputs)
        return self._refine(reduced, out, relu=True)


class _Res:
    """A residual block, in place."""

    def __init__(self, block: ResBlock, scratch: Scratch) -> None:
        self._conv_1, self._conv_2 = (
            _row_conv(conv, scratch) for conv in (block.conv_1, block.conv_2)
        )
        self._scratch = scratch

    def __call__(self, features: Tensor) -> Tensor:
        between = self._scratch.take("half b", *features.shape)
        return self._conv_2(self._conv_1(features, between, relu=True), features, add=True)


class _Block(nn.Module):
    """An FDNB."""

    def __init__(self, block: FDNB, scratch: Scratch) -> None:
        super().__init__()
        self.coarse_1, self.coarse_2, self.coarse_3 = (
            _plus_identity(conv) for conv in (block.coarse_1, block.coarse_2, block.coarse_3)
        )
        self.coarse_4 = block.coarse_4
        self._half = half = block.coarse_4.in_channels
        distil = [_matrix(conv) for conv in (block.distil_1, block.distil_2, block.distil_3)]
        merge = _matrix(block.merge)
        self.attention = block.attention
        blocks = torch.block_diag(*distil, torch.eye(half))  # type: ignore[no-untyped-call]  # torch
        self.register_buffer("distil", blocks)
        self.register_buffer("merge", merge)
        self.register_buffer("bias", _bias(block.merge).detach().clone())
        self._scratch = scratch

    def forward(self, features: Tensor, out: Tensor) -> Tensor:
        left, right = features.chunk(2, dim=2)
        coarse_1 = _conv(self.coarse_1, right).relu_()
        coarse_2 = _conv(self.coarse_2, coarse_1).relu_()
        coarse_3 = _conv(self.coarse_3, coarse_2).relu_()
        coarse_4 = _conv(self.coarse_4, coarse_3)
        both = self._scratch.take("u", *features.shape[:2], 4 * self._half)
        torch.cat([left, coarse_1, coarse_2, coarse_4], dim=2, out=both)
        u = both.flatten(0, 1)
        mean, covariance = _moments(u)
        # Norm: what the three distilled ones are divided by; the last one is left as it is.
        distil = cast("Tensor", self.distil)
        variance = ((distil @ covariance) * distil).sum(dim=1)
        scale = torch.rsqrt(variance + NORM_EPSILON)
        scale[3 * self._half :] = 1
        centre = mean.clone()
        centre[3 * self._half :] = 0
        matrix = cast("Tensor", self.merge) @ (scale[:, None] * distil)
        offset = cast("Tensor", self.bias) - matrix @ centre
        # CCA: the merged channels' mean and variance follow from u's.
        merged_mean = matrix @ mean + offset
        merged_variance = ((matrix @ covariance) * matrix).sum(dim=1).clamp_(min=0)
        contrast = (merged_variance + NORM_EPSILON).sqrt() + merged_mean
        squeezed = F.relu(self.attention.squeeze(contrast[None, :, None, None]))
        gain = torch.sigmoid(self.attention.excite(squeezed)).flatten()
        torch.addmm(
            features.flatten(0, 1), u, (gain[:, None] * matrix).T, out=out.flatten(0, 1)
        ).add_(gain * offset)
        return out


class _Fusion(nn.Module):
    """ALFM and its convolution, and ACFM."""

    def __init__(self, fusion: AttentionFusion, gram: str, scratch: Scratch) -> None:
        super().__init__()
        self.reduce, self.theta, self.gram = fusion.reduce, fusion.alfm.theta, gram
        self.acfm = _ChannelFusion(fusion.acfm, fusion.reduce.out_channels)
        self._scratch = scratch

    def forward(self, group: Tensor, last: Tensor) -> Tensor:
        rows = group.flatten(0, 1)
        products = rows.T @ rows
        if self.gram == "mean":
            products /= len(rows)
        mix = self.theta * torch.softmax(products, dim=1)
        mix.diagonal().add_(1)
        kernel = torch.einsum("oihw,ij->ojhw", self.reduce.weight, mix)
        reduce = RowConv(kernel, self.reduce.bias, self._scratch)
        return reduce(group, self.acfm(last), add=True)


class _ChannelFusion(nn.Module):
    """ACFM."""

    def __init__(self, acfm: ACFM, channels: int) -> None:
        super().__init__()
        self.spatial = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        _fill(
            self.spatial,
            acfm.spatial.weight.expand(channels, 1, 3, 3),
            _bias(acfm.spatial).expand(channels),
        )
        before, here, after = acfm.across.weight.detach().view(3)
        tridiagonal = here * torch.eye(channels)
        tridiagonal += before * torch.diag(torch.ones(channels - 1), -1)
        tridiagonal += after * torch.diag(torch.ones(channels - 1), 1)
        self.across = nn.Conv2d(channels, channels, 1)
        _fill(self.across, tridiagonal[..., None, None], _bias(acfm.across).expand(channels))
        self.alpha = acfm.alpha

    def forward(self, features: Tensor) -> Tensor:
        gate = _conv(self.across, _conv(self.spatial, features).relu_()).sigmoid_()
        return gate.mul_(self.alpha).add_(1).mul_(features)


def _conv(conv: nn.Conv2d, picture: Tensor) -> Tensor:
    """`[H, W, I]` to `[H, W, O]`."""
    out: Tensor = conv(picture.permute(2, 0, 1)[None])
    return out[0].permute(1, 2, 0).contiguous()


def _row_conv(conv: nn.Conv2d, scratch: Scratch) -> RowConv:
    return RowConv(conv.weight, conv.bias, scratch)


def _up(block: UpBlock, scratch: Scratch) -> RowConv:
    return RowConv(block.conv.weight, block.conv.bias, scratch, doubles=True)


def _moments(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Mean `[C]` and covariance `[C, C]` of `[N, C]`."""
    mean = rows.mean(dim=0)
    return mean, torch.addmm(mean[:, None] * mean, rows.T, rows, beta=-1, alpha=1 / len(rows))


def _plus_identity(conv: nn.Conv2d) -> nn.Conv2d:
    """conv(x) + x."""
    made = nn.Conv2d(conv.in_channels, conv.out_channels, 3, padding=1)
    identity = torch.zeros_like(conv.weight)
    identity[:, :, 1, 1] = torch.eye(conv.in_channels)
    _fill(made, conv.weight + identity, _bias(conv))
    return made


def _copied(conv: nn.Conv2d) -> nn.Conv2d:
    made = nn.Conv2d(conv.in_channels, conv.out_channels, 3, padding=1)
    _fill(made, conv.weight, _bias(conv))
    return made


def _fill(conv: nn.Conv2d, weight: Tensor, bias: Tensor) -> None:
    with torch.no_grad():
        conv.weight.copy_(weight)
        _bias(conv).copy_(bias)


def _matrix(conv: nn.Conv2d) -> Tensor:
    """The kernel of a 1x1 convolution."""
    return conv.weight.detach().flatten(1).clone()


def _bias(conv: nn.Conv2d | nn.Conv1d) -> Tensor:
    assert conv.bias is not None
    return conv.bias
