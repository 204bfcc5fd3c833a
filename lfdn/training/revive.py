"""Units that never fire, given new weights: what they did is nothing, so nothing else changes.

A channel behind a ReLU whose input is below zero everywhere passes no gradient, and never learns
again. In the packaged networks most channels of the deep residual blocks have ended so.
"""

import logging

import torch
from torch import Tensor, nn

from lfdn.model import LFDN, DownBlock, ResBlock

logger = logging.getLogger(__name__)


@torch.no_grad()
def revive(network: LFDN, images: Tensor, *, seed: int) -> dict[str, int]:
    """Give new weights to the hidden channels of blocks that fire on none of the images.

    The new incoming weights are random, as before a training, with a bias at which about half of
    the positions fire. The outgoing weights become zero, so the network computes the same as
    before; they learn first.

    Args:
        network: Changed in place.
        images: Typical inputs of the network, `[B, 3, H, W]` in 0…1.
        seed: Of the new weights.

    Returns:
        For each block with such channels its name and their number.
    """
    pairs: dict[str, tuple[nn.Conv2d, nn.Conv2d]] = {}
    for name, module in network.named_modules():
        if isinstance(module, ResBlock):
            pairs[name] = module.conv_1, module.conv_2
        elif isinstance(module, DownBlock):
            pairs[name] = module.reduce, module.refine
    inputs: dict[str, Tensor] = {}
    dead: dict[str, Tensor] = {}
    handles = []
    for name, (first, _) in pairs.items():

        def watch(_: nn.Module, given: tuple[Tensor], result: Tensor, name: str = name) -> None:
            dead[name] = (result <= 0).all(dim=3).all(dim=2).all(dim=0)
            if dead[name].any():
                inputs[name] = given[0]

        handles.append(first.register_forward_hook(watch))
    try:
        network(images)
    finally:
        for handle in handles:
            handle.remove()
    generator = torch.Generator().manual_seed(seed)
    revived = {}
    for name, features in inputs.items():
        _redraw(*pairs[name], dead[name], features, generator)
        revived[name] = int(dead[name].sum())
        logger.info("%s: revived %d of %d channels", name, revived[name], len(dead[name]))
    return revived


def _redraw(
    first: nn.Conv2d,
    second: nn.Conv2d,
    dead: Tensor,
    features: Tensor,
    generator: torch.Generator,
) -> None:
    """Draw new weights for the channels `dead` between two convolutions."""
    fresh = torch.empty(first.weight.shape)
    nn.init.kaiming_uniform_(fresh, nonlinearity="relu", generator=generator)
    first.weight[dead] = fresh.to(first.weight)[dead]
    second.weight[:, dead] = 0
    assert first.bias is not None
    first.bias[dead] = 0
    middle = first(features).mean(dim=(0, 2, 3))
    first.bias[dead] = -middle[dead]
