"""The same network for inference on a CPU: the same result but for rounding, in less time.

`rearranged(network)` gives a module with the contract of `LFDN.forward`. What it does differently
is all linear algebra; nothing is approximated. What stands in `lfdn.model`, and what is computed
instead:

    head, first strided conv   One 5x5 convolution of stride 2. Nothing stands between the two, so
                               the tensor of full size with 50 channels never exists. Its first row
                               and column, where the zeros around it matter, are computed apart.
    conv(x) + x                One convolution, with 1 added in the middle of its kernel.
    FDNB after its 3x3 convs   Distil, norm, merge and CCA are affine in u `[N, 2C]`, the features
                               they work on, with factors that depend on u's mean and covariance
                               alone. Those are one product, the block's output is another.
    ALFM, then a 3x3 conv      theta * attention + 1 is a 1x1 convolution; it is multiplied into the
                               kernel of the convolution behind it.
    ACFM across channels       A 1x1 convolution with a tridiagonal kernel.

Only networks of the default's parts are rearranged; others come back as they are. Pictures of a
batch are done one by one, as the kernels depend on the picture. Float32, without autocast.
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


def rearranged(network: LFDN) -> nn.Module:
    """`network` in eval mode for inference, its own weights copied; or itself, if it is another."""
    usual = network.config.encoder == "mshf" and network.config.block == "fdnb"
    if not usual or network.config.fusion != "attention":
        return network
    return Rearranged(network)


class Rearranged(nn.Module):
    """See `rearranged`."""

    def __init__(self, network: LFDN) -> None:
        super().__init__()
        encoder = cast("MSHF", network.encoder)
        self.entry = _Entry(network.head, encoder.down_1)
        self.encoder = encoder
        self.blocks = nn.ModuleList(_Block(cast("FDNB", block)) for block in network.blocks)
        self.fusion = _Fusion(cast("AttentionFusion", network.fusion), network.config.gram)
        first, up, second, tail = network.decoder
        self.first, self.second = cast("ResBlock", first), cast("ResBlock", second)
        self.up, self.tail = cast("UpBlock", up), cast("UpBlock", tail)
        self._residual = network.config.residual

    @torch.inference_mode()
    def forward(self, image: Tensor) -> Tensor:
        restored = [self._one(image[index : index + 1]) for index in range(len(image))]
        return restored[0] if len(restored) == 1 else torch.cat(restored)

    def _one(self, image: Tensor) -> Tensor:
        padded = pad_to_multiple(image, STRIDE_PX).contiguous(memory_format=torch.channels_last)
        encoder = self.encoder
        f2 = _res(encoder.res_2, _down(encoder.down_2, self.entry(padded)))
        f3 = _res(encoder.res_3, _down(encoder.down_3, f2))
        f4 = _res(encoder.res_4, _down(encoder.down_4, f3))
        f3 = _res(encoder.fuse_3, _up(encoder.up_4, f4).add_(f3))
        features = _res(encoder.fuse_2, _up(encoder.up_3, f3).add_(f2))
        outputs = []
        for block in self.blocks:
            features = block(features)
            outputs.append(features)
        fused = self.fusion(outputs)
        change = _up(self.tail, _res(self.second, _up(self.up, _res(self.first, fused))))
        change = change[..., : image.shape[-2], : image.shape[-1]]
        return image + change if self._residual else change


class _Entry(nn.Module):
    """f1 of the picture: head and first downblock."""

    def __init__(self, head: nn.Conv2d, down: DownBlock) -> None:
        super().__init__()
        self.head, self.reduce, self.refine = head, down.reduce, down.refine
        first, second = head.weight.double(), down.reduce.weight.double()
        # The composition of two correlations is the full convolution of their kernels.
        both = F.conv_transpose2d(second, first)
        bias = second.sum(dim=(2, 3)) @ _bias(head).double() + _bias(down.reduce).double()
        self.both = nn.Conv2d(head.in_channels, down.reduce.out_channels, 5, stride=2, padding=2)
        _fill(self.both, both, bias)

    def forward(self, padded: Tensor) -> Tensor:
        f1: Tensor = self.both(padded)
        f1[:, :, :1] = self.reduce(self.head(padded[:, :, :3])[:, :, :2])
        f1[..., :1] = self.reduce(self.head(padded[..., :3])[..., :2])
        out: Tensor = self.refine(f1.relu_())
        return out.relu_()


class _Block(nn.Module):
    """An FDNB."""

    def __init__(self, block: FDNB) -> None:
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

    def forward(self, features: Tensor) -> Tensor:
        left, right = features.chunk(2, dim=1)
        coarse_1 = self.coarse_1(right).relu_()
        coarse_2 = self.coarse_2(coarse_1).relu_()
        coarse_3 = self.coarse_3(coarse_2).relu_()
        u = _rows(torch.cat([left, coarse_1, coarse_2, self.coarse_4(coarse_3)], dim=1))
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
        out = torch.addmm(_rows(features), u, (gain[:, None] * matrix).T).add_(gain * offset)
        return _picture(out, features)


class _Fusion(nn.Module):
    """ALFM and its convolution, and ACFM."""

    def __init__(self, fusion: AttentionFusion, gram: str) -> None:
        super().__init__()
        self.reduce, self.theta, self.gram = fusion.reduce, fusion.alfm.theta, gram
        self.acfm = _ChannelFusion(fusion.acfm, fusion.reduce.out_channels)

    def forward(self, outputs: list[Tensor]) -> Tensor:
        group = torch.cat(outputs, dim=1)
        rows = _rows(group)
        products = rows.T @ rows
        if self.gram == "mean":
            products /= len(rows)
        mix = self.theta * torch.softmax(products, dim=1)
        mix.diagonal().add_(1)
        kernel = torch.einsum("oihw,ij->ojhw", self.reduce.weight, mix)
        kernel = kernel.contiguous(memory_format=torch.channels_last)
        fused = F.conv2d(group, kernel, self.reduce.bias, padding=1)
        return fused.add_(self.acfm(outputs[-1]))


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
        gate = self.across(self.spatial(features).relu_()).sigmoid_()
        out: Tensor = gate.mul_(self.alpha).add_(1).mul_(features)
        return out


def _down(block: DownBlock, features: Tensor) -> Tensor:
    out: Tensor = block.refine(block.reduce(features).relu_())
    return out.relu_()


def _res(block: ResBlock, features: Tensor) -> Tensor:
    out: Tensor = block.conv_2(block.conv_1(features).relu_())
    return out.add_(features)


def _up(block: UpBlock, features: Tensor) -> Tensor:
    return F.pixel_shuffle(block.conv(features), 2)


def _rows(features: Tensor) -> Tensor:
    """`[1, C, H, W]`, channels last in memory, as the matrix `[H * W, C]`."""
    return features.permute(0, 2, 3, 1).reshape(-1, features.shape[1])


def _picture(rows: Tensor, like: Tensor) -> Tensor:
    return rows.view(1, like.shape[2], like.shape[3], -1).permute(0, 3, 1, 2)


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
