"""The network for inference on a CPU: the same result, except for rounding, in less time.

`optimize_for_cpu(network)` returns a module with the contract of `LFDN.forward`. It only rearranges
linear algebra; nothing is approximated. On the left is the layer of `lfdn.model`, on the right how
it is computed here:

    3x3 convolutions           Half of the multiplications (`lfdn.winograd`), if wide enough.
    head, first strided conv   One 5x5 convolution of stride 2. There is nothing between the two, so
                               the tensor of full size with 50 channels never exists. The first row
                               and column, where zero padding matters, are computed separately.
    conv(x) + x in an FDNB     One convolution, with 1 added at the centre of its kernel.
    FDNB after its 3x3 convs   Distil, norm, merge and CCA as one product: see `BlockAlgebra`.
    ALFM, then a 3x3 conv      θ · attention + 1 is a 1x1 convolution; it is multiplied into the
                               kernel of the convolution after it.
    ACFM across channels       A 1x1 convolution with a tridiagonal kernel.
    pixel shuffle              Rows are written to their places in the image of twice the size.
    sums, ReLU                 In place, while the rows are in the cache.

Features are `[H, W, C]`. The largest ones are in buffers that the next image reuses; each thread
has its own, so several threads may run one module. Only networks with the default encoder, blocks
and fusion are rewritten. Images of a batch are restored one by one, because some kernels depend on
the image. Float32, without autocast.
"""

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lfdn.algebra import (
    BlockAlgebra,
    fill,
    fold_identity,
    fuse_first_convs,
    get_bias,
    make_tridiagonal,
)
from lfdn.model import (
    ACFM,
    FDNB,
    LFDN,
    MSHF,
    STRIDE_PX,
    AttentionFusion,
    DownBlock,
    ResBlock,
    UpBlock,
    pad_to_multiple,
)
from lfdn.winograd import RowConv, Scratch, reorder_for_pixel_shuffle

ENTRY_BAND_ROWS = 40  # rows of the first convolution's output that fit into the cache


def optimize_for_cpu(network: LFDN) -> nn.Module:
    """Rewrite a network for fast inference on a CPU.

    Args:
        network: On the CPU, in float32. Its weights are copied; it is not changed.

    Returns:
        A module with the contract of `LFDN.forward`, for inference only; `network` itself if its
        encoder, blocks or fusion are not the default ones.
    """
    default = network.config.encoder == "mshf" and network.config.block == "fdnb"
    if not default or network.config.fusion != "attention":
        return network
    return CpuLFDN(network)


class CpuLFDN(nn.Module):
    """An LFDN as `optimize_for_cpu` rewrites it, for inference only.

    Scratch buffers: `half a` and `half b` hold features at half the image's size, in entry and
    decoder by turns; `group` the outputs of all blocks; `u` the input of `_Block`'s product.
    """

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
        self._up_4, self._up_3 = (
            _build_up(block, scratch) for block in (encoder.up_4, encoder.up_3)
        )
        self.blocks = nn.ModuleList(
            _Block(cast("FDNB", block), scratch) for block in network.blocks
        )
        self.fusion = _Fusion(cast("AttentionFusion", network.fusion), network.config.gram, scratch)
        first, up, second, tail = network.decoder
        self._first, self._second = (
            _Res(cast("ResBlock", block), scratch) for block in (first, second)
        )
        self._up = _build_up(cast("UpBlock", up), scratch)
        self.tail = _build_tail(cast("UpBlock", tail))
        self._residual = network.config.residual

    @torch.inference_mode()
    def forward(self, image: Tensor) -> Tensor:
        restored = [self._restore(image[index : index + 1]) for index in range(len(image))]
        return restored[0] if len(restored) == 1 else torch.cat(restored)

    def _restore(self, image: Tensor) -> Tensor:
        """Restore one image, `[1, 3, H, W]`."""
        pixels = pad_to_multiple(image, STRIDE_PX)[0].permute(1, 2, 0).contiguous()
        f2 = self._res_2(self._down_2(self.entry(pixels)))
        f3 = self._res_3(self._down_3(f2))
        f4 = self._res_4(self._down_4(f3))
        f3 = self._fuse_3(self._up_4(f4, f3, add=True))
        features = self._fuse_2(self._up_3(f3, f2, add=True))
        height, width, channels = features.shape
        # The blocks write their outputs side by side: ALFM's concatenation without a copy.
        group = self._scratch.get_buffer("group", height, width, len(self.blocks) * channels)
        for index, block in enumerate(self.blocks):
            out = group[..., index * channels : (index + 1) * channels]
            features = block(features, out)
        fused = self._first(self.fusion(group, features))
        large = self._scratch.get_buffer("half a", 2 * height, 2 * width, channels)
        residual = _convolve(self.tail, self._second(self._up(fused, large)))
        restored = self._shuffle_and_add(residual, pixels)[: image.shape[2], : image.shape[3]]
        return restored.permute(2, 0, 1)[None]

    def _shuffle_and_add(self, residual: Tensor, pixels: Tensor) -> Tensor:
        """Apply the tail's pixel shuffle and add the input, in one pass over memory."""
        height, width, _ = residual.shape
        shuffled = residual.view(height, width, 2, -1).transpose(1, 2)
        restored = torch.empty_like(pixels)
        shape = (height, 2, width, -1)
        if self._residual:
            torch.add(pixels.view(shape), shuffled, out=restored.view(shape))
        else:
            restored.view(shape).copy_(shuffled)
        return restored


class _Entry(nn.Module):
    """Head and first downblock: `[H, W, 3]` to f1."""

    def __init__(self, head: nn.Conv2d, down: DownBlock, scratch: Scratch) -> None:
        super().__init__()
        self.head = head
        self.reduce = down.reduce
        self.fused = fuse_first_convs(head, down.reduce)
        self._refine = _build_row_conv(down.refine, scratch)
        self._scratch = scratch

    def forward(self, pixels: Tensor) -> Tensor:
        height, width = pixels.shape[0] // 2, pixels.shape[1] // 2
        reduced = self._scratch.get_buffer("half a", height, width, self.fused.out_channels)
        # 2 px on each side: the two convolutions' paddings of 1, seen from the image.
        padded = F.pad(pixels, (0, 0, 2, 2, 2, 2))
        for top in range(0, height, ENTRY_BAND_ROWS):
            bottom = min(top + ENTRY_BAND_ROWS, height)
            band = _convolve(self.fused, padded[2 * top : 2 * bottom + 3])
            torch.clamp_min(band, 0, out=reduced[top:bottom])
        # The fused convolution is wrong here (see `fuse_first_convs`), so both are applied.
        reduced[:1] = _convolve(self.reduce, _convolve(self.head, pixels[:3])[:2]).relu_()
        reduced[:, :1] = _convolve(self.reduce, _convolve(self.head, pixels[:, :3])[:, :2]).relu_()
        refined = self._scratch.get_buffer("half b", height, width, self._refine.outputs)
        return self._refine(reduced, refined, relu=True)


class _Down(nn.Module):
    """A downblock: `[H, W, I]` to `[H/2, W/2, O]`."""

    def __init__(self, block: DownBlock, scratch: Scratch) -> None:
        super().__init__()
        self.reduce = block.reduce
        self._refine = _build_row_conv(block.refine, scratch)

    def forward(self, features: Tensor) -> Tensor:
        reduced = _convolve(self.reduce, features).relu_()
        out = reduced.new_empty(*reduced.shape[:2], self._refine.outputs)
        return self._refine(reduced, out, relu=True)


class _Res:
    """A residual block, in place: its input is overwritten by its output."""

    def __init__(self, block: ResBlock, scratch: Scratch) -> None:
        self._conv_1, self._conv_2 = (
            _build_row_conv(conv, scratch) for conv in (block.conv_1, block.conv_2)
        )
        self._scratch = scratch

    def __call__(self, features: Tensor) -> Tensor:
        between = self._scratch.get_buffer("half b", *features.shape)
        return self._conv_2(self._conv_1(features, between, relu=True), features, add=True)


class _Block(nn.Module):
    """An FDNB, with everything after its 3x3 convolutions as one product: see `BlockAlgebra`.

    Of its u only the 2C features are in memory; the constant 1 comes after them.
    """

    def __init__(self, block: FDNB, scratch: Scratch) -> None:
        super().__init__()
        self.coarse_1, self.coarse_2, self.coarse_3 = (
            fold_identity(conv) for conv in (block.coarse_1, block.coarse_2, block.coarse_3)
        )
        self.coarse_4 = block.coarse_4
        half, channels = block.coarse_4.in_channels, block.merge.out_channels
        self._features = 4 * half
        self.algebra = BlockAlgebra(
            block,
            starts=range(0, self._features, half),
            one=self._features,
            size=self._features + 1,
            outputs=range(channels),
            output_size=channels,
        )
        self._scratch = scratch

    def forward(self, features: Tensor, out: Tensor) -> Tensor:
        """Apply the block to `features` `[H, W, C]`; `out` receives the result, strided or not."""
        left, right = features.chunk(2, dim=2)
        coarse_1 = _convolve(self.coarse_1, right).relu_()
        coarse_2 = _convolve(self.coarse_2, coarse_1).relu_()
        coarse_3 = _convolve(self.coarse_3, coarse_2).relu_()
        coarse_4 = _convolve(self.coarse_4, coarse_3)
        stacked = self._scratch.get_buffer("u", *features.shape[:2], self._features)
        torch.cat([left, coarse_1, coarse_2, coarse_4], dim=2, out=stacked)
        u = stacked.flatten(0, 1)
        matrix, gain = self.algebra(_compute_gram(u)[None], len(u))
        kernel = (gain * matrix)[0]
        torch.addmm(
            features.flatten(0, 1), u, kernel[:, : self._features].T, out=out.flatten(0, 1)
        ).add_(kernel[:, self._features])
        return out


class _Fusion(nn.Module):
    """ALFM and the convolution after it, and ACFM.

    ALFM is (θ · attention + 1) f_g: for one image a 1x1 convolution, whose product with the kernel
    of the 3x3 convolution is a 3x3 convolution again. Its kernel is transformed for each image,
    which is small work beside a pass over N·C channels.
    """

    def __init__(self, fusion: AttentionFusion, gram: str, scratch: Scratch) -> None:
        super().__init__()
        self.reduce = fusion.reduce
        self.theta = fusion.alfm.theta
        self.gram = gram
        self.acfm = _ChannelFusion(fusion.acfm, fusion.reduce.out_channels)
        self._scratch = scratch

    def forward(self, group: Tensor, last: Tensor) -> Tensor:
        """Compute f_l + f_c, `[H, W, C]`.

        Args:
            group: The outputs of all blocks, `[H, W, N·C]`.
            last: The output of the last one, `[H, W, C]`.
        """
        rows = group.flatten(0, 1)
        products = rows.T @ rows
        if self.gram == "mean":
            products /= len(rows)
        mix = self.theta * torch.softmax(products, dim=1)
        mix.diagonal().add_(1)  # ALFM adds its input: the identity, folded into the same matrix
        kernel = torch.einsum("oihw,ij->ojhw", self.reduce.weight, mix)
        reduce = RowConv(kernel, self.reduce.bias, self._scratch)
        return reduce(group, self.acfm(last), add=True)


class _ChannelFusion(nn.Module):
    """ACFM. Its 3x1x1 convolution across channels is a 1x1 one with a tridiagonal kernel."""

    def __init__(self, acfm: ACFM, channels: int) -> None:
        super().__init__()
        self.spatial = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        fill(
            self.spatial,
            acfm.spatial.weight.expand(channels, 1, 3, 3),
            get_bias(acfm.spatial).expand(channels),
        )
        tridiagonal = make_tridiagonal(acfm, channels)
        self.across = nn.Conv2d(channels, channels, 1)
        fill(self.across, tridiagonal[..., None, None], get_bias(acfm.across).expand(channels))
        self.alpha = acfm.alpha

    def forward(self, features: Tensor) -> Tensor:
        gate = _convolve(self.across, _convolve(self.spatial, features).relu_()).sigmoid_()
        return gate.mul_(self.alpha).add_(1).mul_(features)


def _convolve(conv: nn.Conv2d, features: Tensor) -> Tensor:
    """Apply PyTorch's own convolution: `[H, W, I]` to `[H, W, O]`, contiguous."""
    # Not `permute(2, 0, 1)[None]`: for a batch with a stride of C PyTorch copies, before and after.
    out: Tensor = conv(features[None].permute(0, 3, 1, 2))
    return out[0].permute(1, 2, 0).contiguous()


def _build_row_conv(conv: nn.Conv2d, scratch: Scratch) -> RowConv:
    return RowConv(conv.weight, conv.bias, scratch)


def _build_up(block: UpBlock, scratch: Scratch) -> RowConv:
    return RowConv(block.conv.weight, block.conv.bias, scratch, pixel_shuffle=True)


def _build_tail(block: UpBlock) -> nn.Conv2d:
    """Copy the last convolution, too narrow for `RowConv`, with channels in `RowConv`'s order."""
    conv = block.conv
    tail = nn.Conv2d(conv.in_channels, conv.out_channels, 3, padding=1)
    fill(tail, reorder_for_pixel_shuffle(conv.weight), reorder_for_pixel_shuffle(get_bias(conv)))
    return tail


def _compute_gram(rows: Tensor) -> Tensor:
    """Compute the sum of u uᵀ, `[C + 1, C + 1]`, where u is a row `[C]` and then 1."""
    count, channels = rows.shape
    gram = rows.new_empty(channels + 1, channels + 1)
    torch.mm(rows.T, rows, out=gram[:channels, :channels])
    gram[channels, :channels] = gram[:channels, channels] = rows.sum(dim=0)
    gram[channels, channels] = count
    return gram
