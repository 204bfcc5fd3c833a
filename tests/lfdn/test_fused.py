"""The optimizer of a captured step against PyTorch's and Muon."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from lfdn.training.fused import FusedOptimizer
from lfdn.training.optim import Muon
from lfdn.training.recipe import OptimizerName, TrainOptions

STEPS = 12
CLIP_NORM, DECAY = 0.5, 0.9
KINDS: dict[OptimizerName, Callable[..., torch.optim.Optimizer]] = {
    "adamw": torch.optim.AdamW,
    "adam": torch.optim.Adam,
    "muon": Muon,
}


def build() -> nn.Sequential:
    torch.manual_seed(1)
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.Conv2d(8, 3, 1))
    return network.to(memory_format=torch.channels_last)  # type: ignore[no-any-return,call-overload]


def rate_of(step: int) -> float:
    return 1e-2 / (1 + step)


def run_backward(network: nn.Module, step: int) -> None:
    images = torch.rand(2, 3, 12, 12, generator=torch.Generator().manual_seed(step))
    network.zero_grad()
    network(images).square().mean().mul(30).backward()


@pytest.mark.parametrize("kind", KINDS)
def test_updates_are_those_of_the_reference(kind: OptimizerName) -> None:
    usual, fused = build(), build()
    reference = KINDS[kind](usual.parameters(), lr=1.0, weight_decay=0.1)
    options = TrainOptions(
        optimizer=kind, weight_decay=0.1, clip_norm=CLIP_NORM, ema_decay=DECAY, resident=True
    )
    averages = [parameter.detach().clone() for parameter in fused.parameters()]
    optimizer = FusedOptimizer(list(fused.parameters()), averages, options)
    expected = [torch.empty(0)] * len(averages)
    for step in range(STEPS):
        run_backward(usual, step)
        norm = nn.utils.clip_grad_norm_(usual.parameters(), CLIP_NORM)
        for group in reference.param_groups:
            group["lr"] = rate_of(step)
        reference.step()
        kept = min(DECAY, (1 + step) / (10 + step)) if step else 0.0
        expected = [
            p.detach().clone() if not step else kept * e + (1 - kept) * p.detach()
            for e, p in zip(expected, usual.parameters(), strict=True)
        ]
        run_backward(fused, step)
        optimizer.rate.fill_(rate_of(step))
        torch.testing.assert_close(optimizer.step(), norm, rtol=1e-3, atol=1e-5)
    assert norm > CLIP_NORM  # it was clipped
    for one, other in zip(usual.parameters(), fused.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)
    for mean, average in zip(expected, averages, strict=True):
        torch.testing.assert_close(mean, average, rtol=1e-3, atol=1e-4)


def test_state_of_another_optimizer_is_refused() -> None:
    network = build()
    parameters = list(network.parameters())
    averages = [parameter.detach().clone() for parameter in parameters]
    muon, adam = (
        FusedOptimizer(parameters, averages, TrainOptions(optimizer=kind))
        for kind in ("muon", "adam")
    )
    with pytest.raises(ValueError, match=r"argument|another optimizer"):
        muon.load_state_dict(adam.state_dict())
