"""A narrower network begun from a trained one, layer by layer, without a single training step.

Each 3x3 or 1x1 convolution of the narrow network is a least squares problem: which kernel takes the
features that it gets to those that the wide network has there? The narrow network keeps some of the
wide one's channels, chosen greedily so that they explain the others best; along residual
connections they are the same ones from block to block. The features are the narrow network's own,
so each layer also corrects the errors of those before it. The last layer is fitted to the truth.

Where the wide network's channels are zero on all images, nothing can be fitted: those kernels keep
their random initial values, and training may use them. The result is a start for `lfdn train
--init`, not a finished network.
"""

from collections.abc import Mapping
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lfdn.config import LFDNConfig
from lfdn.model import FDNB, LFDN, MSHF, AttentionFusion, DownBlock, ResBlock, UpBlock

CHOICE_POSITIONS = 20_000
"""Positions by which channels are chosen."""
FIT_POSITIONS = 1_200
"""Largest number of positions of one image that a layer is fitted to."""
RIDGE = 3e-2
"""Regularization, as a share of the mean square of the inputs. With less, inputs that hardly vary
get kernels so large that training is unstable."""
DEAD = 1e-9
"""Variance below which a channel counts as zero."""
GAIN_RANGE = (0.02, 0.98)
"""Of the channel attention, a sigmoid."""


def narrow(wide: LFDN, config: LFDNConfig, degraded: Tensor, target: Tensor) -> LFDN:
    """Build a narrow network that computes about what a wide one does.

    Args:
        wide: A trained network, on the CPU.
        config: Shape of the narrow network. Nothing but its widths may differ from `wide.config`.
        degraded: Training images, float32 `[B, 3, H, W]` in 0…1; H and W are multiples of 16.
        target: What they should become, like `degraded`.

    Returns:
        The narrow network, in eval mode.

    Raises:
        ValueError: The networks differ in more than widths, or are not of the default parts.
    """
    _check(wide.config, config)
    student = LFDN(config).eval()
    with torch.no_grad():
        features = _record(wide.eval(), degraded)
        _Fitting(student, features).fit(degraded, target)
    return student


def choose_channels(features: Tensor, count: int, *, groups: int = 1) -> Tensor:
    """Choose the channels that explain all others best by linear regression, one after the other.

    Args:
        features: `[B, C, H, W]`.
        count: Number of channels to choose, at most C.
        groups: Equal parts of the channels, from each of which as many are chosen.

    Returns:
        The chosen indices, ascending, `[count]`.
    """
    channels = features.shape[1]
    rows = features.transpose(0, 1).flatten(1)
    rows = rows[:, torch.randperm(rows.shape[1])[:CHOICE_POSITIONS]].double()
    rows = rows - rows.mean(dim=1, keepdim=True)
    covariance = rows @ rows.T / rows.shape[1]
    group = torch.arange(channels) * groups // channels
    free = torch.ones(channels, dtype=torch.bool)
    for _ in range(count):
        # What each channel explains of all that the chosen ones do not explain yet.
        explained = covariance.square().sum(dim=0) / covariance.diagonal().clamp(min=DEAD)
        full = torch.bincount(group[~free], minlength=groups) >= count // groups
        explained[~free | full[group]] = -1
        best = int(explained.argmax())
        free[best] = False
        column = covariance[:, best : best + 1]
        covariance = covariance - column @ column.T / covariance[best, best].clamp(min=DEAD)
    return (~free).nonzero().flatten()


def fit_conv(conv: nn.Conv2d, features: Tensor, target: Tensor) -> None:
    """Fit a convolution by least squares; leave it as it is where the target is zero throughout.

    Args:
        conv: Its kernel and bias are replaced.
        features: Its input, `[B, I, H, W]`.
        target: What it should return, `[B, O, H', W']`.
    """
    if target.var(dim=(0, 2, 3)).mean() < DEAD:
        return
    size, stride = conv.kernel_size[0], conv.stride[0]
    products, moments = [], []
    for image, wanted in zip(features, target, strict=True):
        patches = F.unfold(image[None], size, padding=size // 2, stride=stride)[0].T
        places = torch.randperm(len(patches))[:FIT_POSITIONS]
        inputs = F.pad(patches[places], (0, 1), value=1.0).double()  # the last one is the bias
        products.append(inputs.T @ inputs)
        moments.append(inputs.T @ wanted.flatten(1).T[places].double())
    product, moment = torch.stack(products).sum(dim=0), torch.stack(moments).sum(dim=0)
    ridge = (RIDGE * product.diagonal()[:-1].mean() + DEAD) * torch.eye(len(product)).double()
    ridge[-1, -1] = 0
    solved = torch.linalg.solve(product + ridge, moment).T.float()
    conv.weight.copy_(solved[:, :-1].reshape(conv.weight.shape))
    cast("nn.Parameter", conv.bias).copy_(solved[:, -1])


class _Fitting:
    """Goes through the narrow network from input to output and fits one layer after the other.

    Args:
        student: The narrow network.
        wide: Features of the wide one, by the name of the module that returned them.
    """

    def __init__(self, student: LFDN, wide: Mapping[str, Tensor]) -> None:
        self._student = student
        self._wide = wide
        self._widths = student.config.widths
        blocks = [wide[f"blocks.{index}"] for index in range(student.config.blocks)]
        # One choice from the encoder to the fusion, whose features are joined by residual
        # connections; as many from each half, since a block works on the halves of a split.
        self._stream = choose_channels(
            torch.cat([wide["encoder.fuse_2"], *blocks]), student.config.channels, groups=2
        )

    def fit(self, image: Tensor, target: Tensor) -> None:
        """Fit all layers, in order."""
        student = self._student
        self._fit_head(image)
        features = self._fit_encoder(student.head(image))
        outputs = []
        for index, block in enumerate(student.blocks):
            features = self._fit_block(f"blocks.{index}", cast("FDNB", block), features)
            outputs.append(features)
        fused = self._fit_fusion(cast("AttentionFusion", student.fusion), outputs)
        first, up, second, tail = student.decoder
        fused = self._fit_res("decoder.0", cast("ResBlock", first), fused, self._stream)
        kept = choose_channels(self._wide["decoder.2"], self._widths[2])
        large = self._fit_up(cast("UpBlock", up), fused, self._wide["decoder.1"][:, kept])
        large = self._fit_res("decoder.2", cast("ResBlock", second), large, kept)
        wanted = target - image if student.config.residual else target
        self._fit_up(cast("UpBlock", tail), large, wanted)

    def _fit_head(self, image: Tensor) -> None:
        """The head is linear: its best channels are the principal components of its patches."""
        head = self._student.head
        patches = F.unfold(image, 3, padding=1).transpose(1, 2).flatten(0, 1)
        patches = patches[torch.randperm(len(patches))[:CHOICE_POSITIONS]]
        patches = patches - patches.mean(dim=0)
        components = torch.linalg.svd(patches, full_matrices=False).Vh
        count = min(len(components), head.out_channels)
        head.weight[:count].copy_(components[:count].view(count, 3, 3, 3))
        cast("nn.Parameter", head.bias)[:count].zero_()

    def _fit_encoder(self, f0: Tensor) -> Tensor:
        encoder, wide, widths = cast("MSHF", self._student.encoder), self._wide, self._widths
        kept_1 = choose_channels(wide["encoder.down_1.refine"].relu(), widths[1])
        kept_3 = choose_channels(wide["encoder.res_3"], widths[3])
        kept_4 = choose_channels(wide["encoder.res_4"], widths[4])
        f1 = self._fit_down("encoder.down_1", encoder.down_1, f0, kept_1)
        f2 = self._fit_down("encoder.down_2", encoder.down_2, f1, self._stream)
        f2 = self._fit_res("encoder.res_2", encoder.res_2, f2, self._stream)
        f3 = self._fit_down("encoder.down_3", encoder.down_3, f2, kept_3)
        f3 = self._fit_res("encoder.res_3", encoder.res_3, f3, kept_3)
        f4 = self._fit_down("encoder.down_4", encoder.down_4, f3, kept_4)
        f4 = self._fit_res("encoder.res_4", encoder.res_4, f4, kept_4)
        sum_3 = (wide["encoder.res_3"] + wide["encoder.up_4"])[:, kept_3]
        f3 = f3 + self._fit_up(encoder.up_4, f4, sum_3 - f3)
        f3 = self._fit_res("encoder.fuse_3", encoder.fuse_3, f3, kept_3)
        sum_2 = (wide["encoder.res_2"] + wide["encoder.up_3"])[:, self._stream]
        f2 = f2 + self._fit_up(encoder.up_3, f3, sum_2 - f2)
        return self._fit_res("encoder.fuse_2", encoder.fuse_2, f2, self._stream)

    def _fit_down(self, name: str, block: DownBlock, features: Tensor, kept: Tensor) -> Tensor:
        reduced = self._wide[f"{name}.reduce"]
        between = choose_channels(reduced.relu(), block.reduce.out_channels)
        fit_conv(block.reduce, features, reduced[:, between])
        refined = self._wide[f"{name}.refine"][:, kept]
        if refined.amax() > 0:  # else ReLU would leave nothing, and training would find no gradient
            fit_conv(block.refine, block.reduce(features).relu(), refined)
        out: Tensor = block(features)
        return out

    def _fit_res(self, name: str, block: ResBlock, features: Tensor, kept: Tensor) -> Tensor:
        hidden = self._wide[f"{name}.conv_1"]
        between = choose_channels(hidden.relu(), block.conv_1.out_channels)
        _fit_alive(block.conv_1, features, hidden[:, between])
        wanted = self._wide[name][:, kept] - features
        fit_conv(block.conv_2, block.conv_1(features).relu(), wanted)
        out: Tensor = block(features)
        return out

    def _fit_up(self, block: UpBlock, features: Tensor, wanted: Tensor) -> Tensor:
        fit_conv(block.conv, features, F.pixel_unshuffle(wanted, 2))
        out: Tensor = block(features)
        return out

    def _fit_block(self, name: str, block: FDNB, features: Tensor) -> Tensor:
        half = block.coarse_4.in_channels
        whole = self._wide[f"{name}.coarse_4"].shape[1]
        right_kept = self._stream[half:] - whole
        left, coarse = features.chunk(2, dim=1)
        wide_coarse = self._get_block_input(name)[:, whole:]
        distilled = []
        steps = (
            (block.distil_1, block.coarse_1),
            (block.distil_2, block.coarse_2),
            (block.distil_3, block.coarse_3),
        )
        for step, (distil, refine) in enumerate(steps, start=1):
            source = left if step == 1 else coarse
            wide_distilled = self._wide[f"{name}.distil_{step}"]
            fit_conv(distil, source, wide_distilled[:, choose_channels(wide_distilled, half)])
            distilled.append(block.norm(distil(source)))
            before = self._wide[f"{name}.coarse_{step}"] + wide_coarse  # the ReLU
            _fit_alive(refine, coarse, before[:, right_kept] - coarse)
            coarse = F.relu(refine(coarse) + coarse)
            wide_coarse = before.relu()
        last = self._wide[f"{name}.coarse_4"]
        fit_conv(block.coarse_4, coarse, last[:, choose_channels(last, half)])
        merged = torch.cat([*distilled, block.coarse_4(coarse)], dim=1)
        gain = self._fit_attention(name, block)
        wanted = self._wide[name][:, self._stream] - features
        fit_conv(block.merge, merged, wanted / gain.view(1, -1, 1, 1))
        out: Tensor = block(features)
        return out

    def _get_block_input(self, name: str) -> Tensor:
        index = int(name.removeprefix("blocks."))
        return self._wide[f"blocks.{index - 1}" if index else "encoder.fuse_2"]

    def _fit_attention(self, name: str, block: FDNB) -> Tensor:
        """Start the channel attention at the wide one's mean gains, nearly without contrast."""
        merged, attended = self._wide[f"{name}.merge"], self._wide[f"{name}.attention"]
        sums = (attended * merged).sum(dim=(0, 2, 3)), merged.square().sum(dim=(0, 2, 3))
        gain = (sums[0] / sums[1].clamp(min=DEAD))[self._stream].clamp(*GAIN_RANGE)
        excite = block.attention.excite
        excite.weight.mul_(0.1)
        cast("nn.Parameter", excite.bias).copy_(torch.logit(gain))
        return gain

    def _fit_fusion(self, fusion: AttentionFusion, outputs: list[Tensor]) -> Tensor:
        fusion.alfm.theta.copy_(self._wide["theta"])
        for part, name in ((fusion.acfm.spatial, "spatial"), (fusion.acfm.across, "across")):
            part.weight.copy_(self._wide[f"{name}.weight"])
            cast("nn.Parameter", part.bias).copy_(self._wide[f"{name}.bias"])
        fusion.acfm.alpha.copy_(self._wide["alpha"])
        group = fusion.alfm(torch.cat(outputs, dim=1))
        wanted = self._wide["fusion"][:, self._stream] - fusion.acfm(outputs[-1])
        fit_conv(fusion.reduce, group, wanted)
        fused: Tensor = fusion(outputs)
        return fused


def _check(wide: LFDNConfig, config: LFDNConfig) -> None:
    default = (config.encoder, config.block, config.fusion) == ("mshf", "fdnb", "attention")
    if not default:
        raise ValueError("network: only one of the default parts can be made narrower")
    if (wide.encoder, wide.block, wide.fusion, wide.blocks, wide.residual, wide.gram) != (
        *(config.encoder, config.block, config.fusion),
        *(config.blocks, config.residual, config.gram),
    ):
        raise ValueError("network: the two networks may differ in their widths alone")
    if any(ours > theirs for ours, theirs in zip(config.widths, wide.widths, strict=True)):
        raise ValueError(f"network: {config.widths} is not narrower than {wide.widths}")


def _record(wide: LFDN, degraded: Tensor) -> dict[str, Tensor]:
    """Run the wide network; return what each of its modules returned, and the fusion's scalars."""
    features: dict[str, Tensor] = {}

    def add_hook(name: str, module: nn.Module) -> torch.utils.hooks.RemovableHandle:
        return module.register_forward_hook(lambda _, __, out: features.update({name: out}))

    hooks = [add_hook(name, module) for name, module in wide.named_modules() if name]
    wide(degraded)
    for hook in hooks:
        hook.remove()
    fusion = cast("AttentionFusion", wide.fusion)
    learnt = {"theta": fusion.alfm.theta, **dict(fusion.acfm.named_parameters())}
    return {**features, **{name: value.detach() for name, value in learnt.items()}}


def _fit_alive(conv: nn.Conv2d, features: Tensor, before_relu: Tensor) -> None:
    """Fit a convolution before a ReLU, except for channels of which ReLU leaves nothing."""
    weight, bias = conv.weight.clone(), cast("nn.Parameter", conv.bias).clone()
    fit_conv(conv, features, before_relu)
    dead = before_relu.amax(dim=(0, 2, 3)) <= 0
    conv.weight[dead] = weight[dead]
    cast("nn.Parameter", conv.bias)[dead] = bias[dead]
