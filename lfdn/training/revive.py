"""Units that never fire, given new weights: what they did is nothing, so nothing else changes.

A channel behind a ReLU whose input is below zero everywhere passes no gradient, and never learns
again. In the packaged networks of 2026-11 the two deepest scales have ended so: all hidden channels
of their residual blocks, and most of what the scales above pass to them.
"""

import logging
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from lfdn.model import LFDN, DownBlock, ResBlock

QUIET = 5e-6
"""Standard deviation of a revived channel that is added to others. Muon and AdamW take steps of a
size that does not depend on the gradient's, so it grows at once if that helps."""

logger = logging.getLogger(__name__)


@torch.no_grad()
def revive(network: LFDN, images: Tensor, *, seed: int) -> dict[str, int]:
    """Give new weights to channels behind a ReLU that fire on none of the images.

    The new incoming weights are random, as before a training, with a bias at which about half of
    the positions fire. The outgoing weights of a hidden channel become zero; they learn first. A
    channel at the end of a downblock goes to several places, so it gets small incoming weights
    instead. The network computes the same as before, within 1e-5.

    Args:
        network: Changed in place.
        images: Typical inputs of the network, `[B, 3, H, W]` in 0…1.
        seed: Of the new weights.

    Returns:
        For each convolution with such channels its name and their number.
    """
    generator = torch.Generator().manual_seed(seed)
    revived = {}
    # One after the other: what revives at one scale is the input of the next.
    for name, conv, following in _find_units(network):
        features, fired = _watch(network, conv, images)
        dead = ~fired
        count = int(dead.sum())
        if count:
            _redraw(conv, dead, features, generator, quiet=following is None)
            if following is not None:
                following.weight[:, dead] = 0
            revived[name] = count
            logger.info("%s: revived %d of %d channels", name, count, len(dead))
    return revived


def _find_units(network: LFDN) -> Iterator[tuple[str, nn.Conv2d, nn.Conv2d | None]]:
    """Yield the convolutions before a ReLU, in order: name, itself, the only one behind or None."""
    for name, module in network.named_modules():
        if isinstance(module, ResBlock):
            yield f"{name}.conv_1", module.conv_1, module.conv_2
        elif isinstance(module, DownBlock):
            yield f"{name}.reduce", module.reduce, module.refine
            yield f"{name}.refine", module.refine, None


def _watch(network: LFDN, conv: nn.Conv2d, images: Tensor) -> tuple[Tensor, Tensor]:
    """Run the network; return the input of a convolution, and which of its channels fire."""
    seen: list[Tensor] = []

    def watch(_: nn.Module, given: tuple[Tensor], result: Tensor) -> None:
        seen.extend((given[0], (result > 0).amax(dim=(0, 2, 3))))

    handle = conv.register_forward_hook(watch)
    try:
        network(images)
    finally:
        handle.remove()
    features, fired = seen
    return features, fired


def _redraw(
    conv: nn.Conv2d, dead: Tensor, features: Tensor, generator: torch.Generator, *, quiet: bool
) -> None:
    """Draw new weights for the channels `dead` of a convolution."""
    fresh = torch.empty(conv.weight.shape)
    nn.init.kaiming_uniform_(fresh, nonlinearity="relu", generator=generator)
    conv.weight[dead] = fresh.to(conv.weight)[dead]
    assert conv.bias is not None
    conv.bias[dead] = 0
    result = conv(features)
    middle, scale = result.mean(dim=(0, 2, 3)), result.new_ones(len(dead))
    if quiet:
        scale = (QUIET / result.std(dim=(0, 2, 3), correction=0).clamp(min=1e-12)).clamp(max=1)
    conv.weight[dead] *= scale[dead].view(-1, 1, 1, 1)
    conv.bias[dead] = -(middle * scale)[dead]
