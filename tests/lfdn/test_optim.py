"""Muon: orthogonal steps for matrices, AdamW's for other parameters."""

import pytest
import torch
from torch import nn

from lfdn import LFDN
from lfdn.training.optim import ADAMW_RMS, Muon, orthogonalize


@pytest.mark.parametrize("shape", [(2, 8, 8), (3, 5, 40), (3, 40, 5), (1, 1, 9)])
def test_orthogonalize_pulls_singular_values_to_about_one(shape: tuple[int, ...]) -> None:
    drawn = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    left, _, right = torch.linalg.svd(drawn, full_matrices=False)
    widths = torch.linspace(1, 0.1, left.shape[-1])
    uneven = 1e-3 * left @ torch.diag(widths) @ right
    values = torch.linalg.svdvals(orthogonalize(uneven))
    assert 0.6 < values.min() <= values.max() < 1.3


def test_step_size_is_that_of_adamw() -> None:
    """Independently of the gradient's size."""
    torch.manual_seed(1)
    weight = nn.Parameter(torch.zeros(32, 16, 3, 3))
    weight.grad = 1e-6 * torch.randn_like(weight)
    Muon([weight], lr=0.01).step()
    assert weight.detach().square().mean().sqrt().item() == pytest.approx(
        0.01 * ADAMW_RMS, rel=0.25
    )


def test_memory_format_does_not_matter() -> None:
    torch.manual_seed(1)
    start, gradient = torch.randn(2, 6, 4, 3, 3)
    found = []
    for layout in (torch.contiguous_format, torch.channels_last):
        weight = nn.Parameter(start.clone(memory_format=layout))
        weight.grad = gradient.clone(memory_format=layout)
        Muon([weight], lr=0.1).step()
        found.append(weight.detach())
    torch.testing.assert_close(*found)


def test_parameters_that_are_not_matrices_use_adamw() -> None:
    torch.manual_seed(1)
    ours, theirs = nn.Parameter(torch.ones(5)), nn.Parameter(torch.ones(5))
    muon = Muon([ours], lr=0.1, weight_decay=0.1)
    adamw = torch.optim.AdamW([theirs], lr=0.1, weight_decay=0.1)
    for rate in (0.1, 0.05):
        ours.grad = theirs.grad = torch.randn(5)
        for optimizer in (muon, adamw):
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.step()
    assert torch.equal(ours, theirs)


def test_every_parameter_of_the_network_is_updated() -> None:
    torch.manual_seed(1)
    network = LFDN()
    before = {name: value.clone() for name, value in network.named_parameters()}
    for parameter in network.parameters():
        parameter.grad = torch.randn_like(parameter)
    Muon(network.parameters(), lr=0.01).step()
    assert [n for n, value in network.named_parameters() if torch.equal(value, before[n])] == []
