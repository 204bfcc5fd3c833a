"""The network for inference on an NVIDIA GPU: the same result, except for rounding, in less time.

`optimize_for_cuda(network)` returns a module with the contract of `LFDN.forward`. Like `lfdn.cpu`
it only rearranges linear algebra (`lfdn.algebra`), for tensor cores and for few, large kernels. It
needs no compiler, and runs on any device; elsewhere it is of no use but for tests.

    any 3x3 convolution        Channels are padded with zeros to widths that tensor cores like.
                               ReLU and bias are part of the convolution, with cuDNN's own kernel.
                               Without ReLU, PyTorch would add a bias in a pass of its own: it comes
                               from a channel that is 1 everywhere, at the centre of the kernel.
    head, first strided conv   One 3x3 convolution on 2x2 pixels each. Their first row and column,
                               where zero padding matters, are channels too: see `lfdn.padded`.
    FDNB                       conv(x) + x as one convolution; the rest as one matrix for each
                               image, see `BlockAlgebra`. The matrix has x + … in it.
    ALFM, then a 3x3 conv      One convolution, with a kernel for each image. Padded channels would
                               get a share of the softmax; they are masked.
    ACFM                       Its depthwise convolution as a full one: with ReLU, one kernel.
    pixel shuffle              One copy, in words of 16 bytes, or together with the sum after it.

Features are `[B, C, H, W]`, channels last. Statistics, Gram matrices and the algebra with them are
in float32. The type of the features is that of autocast, where it is on.
"""

import copy
from contextlib import nullcontext
from typing import cast

import torch
from torch import Tensor, nn

from lfdn.algebra import get_bias
from lfdn.cuda_layers import Block, Conv, Down, Entry, Fusion, Res, Up, as_rows
from lfdn.model import (
    FDNB,
    LFDN,
    MSHF,
    STRIDE_PX,
    AttentionFusion,
    ResBlock,
    UpBlock,
    pad_to_multiple,
)
from lfdn.padded import ENTRY_PIXELS, Channels


def optimize_for_cuda(network: LFDN) -> nn.Module:
    """Rewrite a network for fast inference on an NVIDIA GPU.

    Args:
        network: In float32, or float64. It is not changed.

    Returns:
        A module with the contract of `LFDN.forward`, for inference only; `network` itself if its
        encoder, blocks or fusion are not the default ones.
    """
    default = network.config.encoder == "mshf" and network.config.block == "fdnb"
    if not default or network.config.fusion != "attention":
        return network
    return CudaLFDN(network)


class CudaLFDN(nn.Module):
    """An LFDN as `optimize_for_cuda` rewrites it: one `PaddedLFDN` for each type in use."""

    def __init__(self, network: LFDN) -> None:
        super().__init__()
        self.network = network
        self._forms: dict[tuple[torch.device, torch.dtype], PaddedLFDN] = {}

    @torch.inference_mode()
    def forward(self, image: Tensor) -> Tensor:
        kind = image.device.type
        autocast = torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
        form = self.get_form(
            image.device, torch.get_autocast_dtype(kind) if autocast else image.dtype
        )
        with torch.autocast(kind, enabled=False) if autocast else nullcontext():
            restored: Tensor = form(image)
        return restored

    def get_form(self, device: torch.device, dtype: torch.dtype) -> "PaddedLFDN":
        """Return the network for features of this type on this device; build it the first time."""
        if (device, dtype) not in self._forms:
            network = copy.deepcopy(self.network).cpu()
            self._forms[device, dtype] = PaddedLFDN(network, dtype).to(device).eval()
        return self._forms[device, dtype]


class PaddedLFDN(nn.Module):
    """The layers of `optimize_for_cuda`, for features of one type.

    Args:
        network: On the CPU. Its weights are copied.
        dtype: Type of the features.
        align: Widths are padded to multiples of it; None: to what is fastest.
    """

    @torch.no_grad()
    def __init__(self, network: LFDN, dtype: torch.dtype, *, align: int | None = None) -> None:
        super().__init__()
        encoder = cast("MSHF", network.encoder)
        w0, w1, _, w3, w4 = (Channels.pad(width, align) for width in network.config.widths)
        w2 = Channels.pad_halves(network.config.channels, align)
        self._residual = network.config.residual
        self.entry = Entry(network.head, encoder.down_1, w0, w1, dtype)
        bound = self.entry.bound
        self.down_2 = Down(encoder.down_2, w1, w2, dtype, bound=bound)
        self.down_3 = Down(encoder.down_3, w2, w3, dtype)
        self.down_4 = Down(encoder.down_4, w3, w4, dtype)
        # `emit`: a convolution without ReLU follows, and needs the channel of ones.
        self.res_2 = Res(encoder.res_2, w2, dtype, emit=False)
        self.res_3 = Res(encoder.res_3, w3, dtype, emit=False)
        self.res_4 = Res(encoder.res_4, w4, dtype, emit=True)
        self.fuse_3 = Res(encoder.fuse_3, w3, dtype, emit=True)
        self.fuse_2 = Res(encoder.fuse_2, w2, dtype, emit=False)
        self.up_4 = Up(encoder.up_4, w4, w3, dtype)
        self.up_3 = Up(encoder.up_3, w3, w2, dtype)
        last = len(network.blocks) - 1
        self.blocks = nn.ModuleList(
            Block(cast("FDNB", block), w2, dtype, emit=index == last)
            for index, block in enumerate(network.blocks)
        )
        fusion = cast("AttentionFusion", network.fusion)
        self.fusion = Fusion(fusion, w2, len(network.blocks), network.config.gram, dtype)
        first, up, second, tail = network.decoder
        self.first = Res(cast("ResBlock", first), w2, dtype, emit=True)
        self.up = Up(cast("UpBlock", up), w2, w2, dtype)
        self.second = Res(cast("ResBlock", second), w2, dtype, emit=True)
        conv = cast("UpBlock", tail).conv
        # In the order of a pixel shuffle; padded to 16, as tensor cores need multiples of 8.
        self.tail = Conv(conv.weight, get_bias(conv), w2, Channels(tuple(range(12)), 16), dtype)

    def forward(self, image: Tensor) -> Tensor:
        pixels = pad_to_multiple(image, STRIDE_PX)
        f2 = self.res_2(self.down_2(self.entry(pixels)))
        f3 = self.res_3(self.down_3(f2))
        f4 = self.res_4(self.down_4(f3))
        f3 = self.fuse_3(self.up_4(f4, f3))
        features = self.fuse_2(self.up_3(f3, f2))
        del f2, f3, f4  # their memory is free for what follows
        outputs = []
        for block in self.blocks:
            features = block(features)
            outputs.append(features)
        features = self.first(self.fusion(outputs))
        del outputs
        residual = self.tail(self.second(self.up(features)))
        return self.shuffle_and_add(residual, pixels)[..., : image.shape[2], : image.shape[3]]

    def shuffle_and_add(self, residual: Tensor, pixels: Tensor) -> Tensor:
        """Apply the tail's pixel shuffle and add the input, in one pass over memory."""
        batch, _, height, width = residual.shape
        shuffled = as_rows(residual)[..., :ENTRY_PIXELS].view(batch, height, width, 3, 2, 2)
        shuffled = shuffled.permute(0, 3, 1, 4, 2, 5)
        restored = torch.empty_like(pixels, memory_format=torch.contiguous_format)
        target = restored.view(shuffled.shape)
        if self._residual:
            torch.add(pixels.reshape(shuffled.shape), shuffled, out=target)
        else:
            target.copy_(shuffled)
        return restored
