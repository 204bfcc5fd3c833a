"""LFDN, the Lightweight Fusion Distillation Network, whole. Its shape is set in `lfdn.config`.

It goes from the small blocks down to `LFDN`. It knows only tensors: `lfdn.weights` reads trained
weights, `lfdn.cpu` computes the same faster on a CPU. Equations, figures and tables
are those of the paper, "Lightweight Fusion Distillation Network for Image Deblurring and Deraining"
(Sensors 2021). `docs/design.md` lists where this differs, and why.
"""

from contextlib import AbstractContextManager, nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lfdn.config import Gram, LFDNConfig

STRIDE_PX = 16  # four downblocks, each of stride 2
NORM_EPSILON = 1e-5
RESIDUAL_INIT_GAIN = 0.01  # an untrained network is nearly the identity, with nonzero gradients


def conv1(inputs: int, outputs: int) -> nn.Conv2d:
    """Build a 1×1 convolution."""
    return nn.Conv2d(inputs, outputs, 1)


def conv3(inputs: int, outputs: int, *, stride: int = 1) -> nn.Conv2d:
    """Build a 3×3 convolution with zero padding; of stride 2 it halves even sides."""
    return nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1)


def compute_moments(features: Tensor) -> tuple[Tensor, Tensor]:
    """Compute mean and variance of each channel, `[B, C, 1, 1]` each, in float32 or better."""
    if features.dtype in (torch.float16, torch.bfloat16):
        features = features.float()
    variance, mean = torch.var_mean(features, dim=(2, 3), correction=0, keepdim=True)
    return mean, variance


class InstanceNorm(nn.Module):
    """Zero mean and unit variance for each channel of each image, without learnt parameters."""

    def forward(self, features: Tensor) -> Tensor:
        mean, variance = compute_moments(features)
        scale = torch.rsqrt(variance + NORM_EPSILON)
        # Subtract in float32: in half precision, where the mean is far above the
        # deviation, the difference would be mostly rounding error.
        return ((features - mean) * scale).to(features.dtype)


class ContrastAttention(nn.Module):
    """CCA (Eq. 8): a gain for each channel, from its contrast: standard deviation plus mean."""

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        hidden = max(1, channels // reduction)
        self.squeeze = conv1(channels, hidden)
        self.excite = conv1(hidden, channels)

    def forward(self, features: Tensor) -> Tensor:
        mean, variance = compute_moments(features)
        contrast = (variance + NORM_EPSILON).sqrt() + mean
        scale = self.excite(F.relu(self.squeeze(contrast.to(features.dtype))))
        return features * torch.sigmoid(scale)


class ResBlock(nn.Module):
    """A residual block: conv, ReLU, conv, plus the input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv_1 = conv3(channels, channels)
        self.conv_2 = conv3(channels, channels)

    def forward(self, features: Tensor) -> Tensor:
        out: Tensor = self.conv_2(F.relu(self.conv_1(features)))
        return out + features


class DownBlock(nn.Module):
    """Half the size: a strided convolution, then one that refines and changes the width."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.reduce = conv3(inputs, inputs, stride=2)
        self.refine = conv3(inputs, outputs)

    def forward(self, features: Tensor) -> Tensor:
        return F.relu(self.refine(F.relu(self.reduce(features))))


class UpBlock(nn.Module):
    """Twice the size: a convolution to four times the channels, then pixel shuffle."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = conv3(inputs, 4 * outputs)

    def forward(self, features: Tensor) -> Tensor:
        return F.pixel_shuffle(self.conv(features), 2)


class MSHF(nn.Module):
    """Multi-scale hierarchical fusion (Fig. 3): `[B, w0, H, W]` to `[B, C, H/4, W/4]`."""

    def __init__(self, widths: tuple[int, int, int, int, int]) -> None:
        super().__init__()
        w0, w1, w2, w3, w4 = widths
        self.down_1 = DownBlock(w0, w1)
        self.down_2 = DownBlock(w1, w2)
        self.down_3 = DownBlock(w2, w3)
        self.down_4 = DownBlock(w3, w4)
        self.res_2 = ResBlock(w2)
        self.res_3 = ResBlock(w3)
        self.res_4 = ResBlock(w4)
        self.up_4 = UpBlock(w4, w3)
        self.fuse_3 = ResBlock(w3)
        self.up_3 = UpBlock(w3, w2)
        self.fuse_2 = ResBlock(w2)

    def forward(self, f0: Tensor) -> Tensor:
        f1 = self.down_1(f0)
        f2 = self.res_2(self.down_2(f1))
        f3 = self.res_3(self.down_3(f2))
        f4 = self.res_4(self.down_4(f3))
        f3 = self.fuse_3(f3 + self.up_4(f4))
        fused: Tensor = self.fuse_2(f2 + self.up_3(f3))
        return fused


class PlainEncoder(nn.Module):
    """Table 6, "without MSHF": a strided convolution per level and two residual blocks."""

    def __init__(self, widths: tuple[int, int, int, int, int]) -> None:
        super().__init__()
        w0, w1, w2, _, _ = widths
        self.layers = nn.Sequential(
            conv3(w0, w1, stride=2),
            nn.ReLU(),
            conv3(w1, w2, stride=2),
            nn.ReLU(),
            ResBlock(w2),
            ResBlock(w2),
        )

    def forward(self, f0: Tensor) -> Tensor:
        out: Tensor = self.layers(f0)
        return out


class FDNB(nn.Module):
    """Feature distillation normalization block (Fig. 4, Eqs. 1-8), `[B, C, H, W]` to the same.

    In each of three steps a 1×1 convolution distils features, which are normalized and set aside,
    and a 3×3 convolution prepares the next step. The merge at the end takes all of them. Step 1
    works on the two halves of a channel split (F_s), so every step is C/2 wide.
    """

    def __init__(self, channels: int, cca_reduction: int) -> None:
        super().__init__()
        half = channels // 2
        self.distil_1, self.distil_2, self.distil_3 = (conv1(half, half) for _ in range(3))
        self.coarse_1, self.coarse_2, self.coarse_3 = (conv3(half, half) for _ in range(3))
        self.coarse_4 = conv3(half, half)
        self.norm = InstanceNorm()
        self.merge = conv1(4 * half, channels)
        self.attention = ContrastAttention(channels, cca_reduction)

    def forward(self, features: Tensor) -> Tensor:
        left, right = features.chunk(2, dim=1)
        distilled_1 = self.norm(self.distil_1(left))  # Eqs. 1-2
        coarse = F.relu(self.coarse_1(right) + right)
        distilled_2 = self.norm(self.distil_2(coarse))  # Eqs. 3-4
        coarse = F.relu(self.coarse_2(coarse) + coarse)
        distilled_3 = self.norm(self.distil_3(coarse))  # Eqs. 5-6
        coarse = F.relu(self.coarse_3(coarse) + coarse)
        distilled = torch.cat([distilled_1, distilled_2, distilled_3, self.coarse_4(coarse)], dim=1)
        out: Tensor = self.attention(self.merge(distilled))  # Eqs. 7-8
        return out + features


class RFDB(nn.Module):
    """Table 6, "RFDB": residual feature distillation at full width, without normalization."""

    def __init__(self, channels: int, cca_reduction: int) -> None:
        super().__init__()
        half = channels // 2
        self.distil = nn.ModuleList(conv1(channels, half) for _ in range(3))
        self.coarse = nn.ModuleList(conv3(channels, channels) for _ in range(3))
        self.last = conv3(channels, half)
        self.merge = conv1(4 * half, channels)
        self.attention = ContrastAttention(channels, cca_reduction)

    def forward(self, features: Tensor) -> Tensor:
        distilled = []
        coarse = features
        for distil, refine in zip(self.distil, self.coarse, strict=True):
            distilled.append(F.relu(distil(coarse)))
            coarse = F.relu(refine(coarse) + coarse)
        distilled.append(F.relu(self.last(coarse)))
        out: Tensor = self.attention(self.merge(torch.cat(distilled, dim=1)))
        return out + features


class ConvBlock(nn.Module):
    """Table 6, "CNN": as many 3×3 convolutions as an RFDB has, and nothing else."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(conv3(channels, channels) for _ in range(4))

    def forward(self, features: Tensor) -> Tensor:
        for conv in self.convs:
            features = F.relu(conv(features))
        return features


class ALFM(nn.Module):
    """Attention layer fusion (Fig. 5, Eqs. 9-10) over the N·C channels of all blocks.

    The Gram matrix is a sum over all positions, which overflows float16 at 720p. It and its softmax
    are therefore computed in float32 or better, even under autocast.
    """

    def __init__(self, gram: Gram) -> None:
        super().__init__()
        self.gram = gram
        self.theta = nn.Parameter(torch.zeros(()))

    def forward(self, group: Tensor) -> Tensor:
        rows = group.flatten(2)  # [B, N·C, H·W]
        with _disable_autocast(group.device.type):
            exact = rows.to(torch.promote_types(rows.dtype, torch.float32))
            if self.gram == "mean":
                # Each factor gets the square root: the product of two is divided by H·W, and no
                # intermediate value is as large as the sum.
                exact = exact / exact.shape[2] ** 0.5
            attention = torch.softmax(exact @ exact.transpose(1, 2), dim=2)
        mixed = (attention.to(rows.dtype) @ rows).view_as(group)
        return self.theta * mixed + group


class ACFM(nn.Module):
    """Attention channel fusion (Fig. 6, Eq. 11) on the output of the last block.

    The paper convolves the volume [1, C, H, W] in three dimensions. Its 1×3×3 kernel is one kernel
    shared by all channels (a depthwise convolution), its 3×1×1 kernel runs across the channels.
    """

    def __init__(self) -> None:
        super().__init__()
        self.spatial = nn.Conv2d(1, 1, 3, padding=1)
        self.across = nn.Conv1d(1, 1, 3, padding=1)
        self.alpha = nn.Parameter(torch.zeros(()))

    def forward(self, features: Tensor) -> Tensor:
        channels = features.shape[1]
        kernel = self.spatial.weight.expand(channels, 1, 3, 3)
        bias = self.spatial.bias.expand(channels) if self.spatial.bias is not None else None
        spatial = F.relu(F.conv2d(features, kernel, bias, padding=1, groups=channels))
        # A convolution along C would need the whole tensor permuted; a sum of three shifts does
        before, here, after = self.across.weight.view(3)
        padded = F.pad(spatial, (0, 0, 0, 0, 1, 1))
        logits = before * padded[:, :-2] + here * spatial + after * padded[:, 2:]
        if self.across.bias is not None:
            logits = logits + self.across.bias
        return features + self.alpha * torch.sigmoid(logits) * features


class AttentionFusion(nn.Module):
    """f_l + f_c: ALFM over all blocks, reduced from N·C to C channels, plus ACFM of the last."""

    def __init__(self, channels: int, blocks: int, gram: Gram) -> None:
        super().__init__()
        self.alfm = ALFM(gram)
        self.reduce = conv3(blocks * channels, channels)
        self.acfm = ACFM()

    def forward(self, outputs: list[Tensor]) -> Tensor:
        f_l: Tensor = self.reduce(self.alfm(torch.cat(outputs, dim=1)))
        f_c: Tensor = self.acfm(outputs[-1])
        return f_l + f_c


class ConcatFusion(nn.Module):
    """Table 6, "without ALFM/ACFM": concatenates all outputs and the last again, and convolves."""

    def __init__(self, channels: int, blocks: int) -> None:
        super().__init__()
        self.reduce = conv3((blocks + 1) * channels, channels)

    def forward(self, outputs: list[Tensor]) -> Tensor:
        out: Tensor = self.reduce(torch.cat([*outputs, outputs[-1]], dim=1))
        return out


class LFDN(nn.Module):
    """The whole network (Fig. 2), with random weights. `lfdn.load` gives it trained ones.

    Args:
        config: The shape of the network; by default the paper's, `LFDNConfig()`.
    """

    def __init__(self, config: LFDNConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or LFDNConfig()
        channels = config.channels
        self.head = conv3(3, config.widths[0])
        self.encoder = (
            MSHF(config.widths) if config.encoder == "mshf" else PlainEncoder(config.widths)
        )
        self.blocks = nn.ModuleList(_build_block(config) for _ in range(config.blocks))
        self.fusion = (
            AttentionFusion(channels, config.blocks, config.gram)
            if config.fusion == "attention"
            else ConcatFusion(channels, config.blocks)
        )
        self.decoder = nn.Sequential(
            ResBlock(channels),
            UpBlock(channels, channels),
            ResBlock(channels),
            tail := UpBlock(channels, 3),
        )
        if config.residual:
            with torch.no_grad():
                for parameter in tail.parameters():
                    parameter.mul_(RESIDUAL_INIT_GAIN)

    def forward(self, image: Tensor) -> Tensor:
        """Restore a batch of images, each independently of the others.

        Args:
            image: Upright RGB, `[B, 3, H, W]` in 0…1, of the weights' dtype. H and W >= 1; sides
                are padded to multiples of 16 by reflection and cropped back.

        Returns:
            The restored images, like `image`. They are not clamped, and may leave 0…1 by a few
            hundredths.
        """
        features = self.encoder(self.head(pad_to_multiple(image, STRIDE_PX)))
        outputs = []
        for block in self.blocks:
            features = block(features)
            outputs.append(features)
        out: Tensor = self.decoder(self.fusion(outputs))
        out = out[..., : image.shape[-2], : image.shape[-1]]
        return image + out if self.config.residual else out


def pad_to_multiple(image: Tensor, multiple: int) -> Tensor:
    """Extend an image at the right and at the bottom, by reflection.

    A side of n px has only n - 1 px to reflect; beyond that the last one is replicated.

    Args:
        image: `[B, C, H, W]`, H and W >= 1.
        multiple: In px. The new sides are the next multiples of it.

    Returns:
        The extended image, or `image` itself if its sides are multiples already.
    """
    height, width = image.shape[-2:]
    bottom, right = -height % multiple, -width % multiple
    if not (bottom or right):
        return image
    near_bottom, near_right = min(bottom, height - 1), min(right, width - 1)
    image = F.pad(image, (0, near_right, 0, near_bottom), mode="reflect")
    if (near_bottom, near_right) == (bottom, right):
        return image
    return F.pad(image, (0, right - near_right, 0, bottom - near_bottom), mode="replicate")


def _disable_autocast(device_type: str) -> AbstractContextManager[object]:
    """Turn autocast off; do nothing on meta, which has none."""
    # `torch.amp.is_autocast_available` would do, but torch.compile cannot see through it.
    if device_type == "meta":
        return nullcontext()
    return torch.autocast(device_type, enabled=False)


def _build_block(config: LFDNConfig) -> nn.Module:
    if config.block == "fdnb":
        return FDNB(config.channels, config.cca_reduction)
    if config.block == "rfdb":
        return RFDB(config.channels, config.cca_reduction)
    return ConvBlock(config.channels)
