"""The network rewritten for a CPU gives the same result as the original."""

import pytest
import torch
from torch import Tensor, nn

from lfdn import LFDN, LFDNConfig, load
from lfdn.config import NETWORKS
from lfdn.cpu import CpuLFDN, optimize_for_cpu

ROUNDING = 1e-4
"""Of images in 0…1; a step of 8 bits is 4e-3."""


def restore_both(network: LFDN, image: Tensor) -> tuple[Tensor, Tensor]:
    network.eval()
    with torch.inference_mode():
        return optimize_for_cpu(network)(image), network(image)


def lively(config: LFDNConfig | None = None) -> LFDN:
    """Build a network whose parts all matter: θ and α start at zero, the last layer close to it."""
    network = LFDN(config)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith(("theta", "alpha")):
                parameter.fill_(0.7)
            if name.startswith("decoder.3"):
                parameter.mul_(20)
    return network


@pytest.mark.parametrize("size", [(48, 64), (16, 16), (17, 33), (1, 1), (1, 40), (100, 3)])
def test_any_size_gives_the_same_result(size: tuple[int, int]) -> None:
    found, expected = restore_both(lively(), torch.rand(1, 3, *size))
    torch.testing.assert_close(found, expected, atol=ROUNDING, rtol=0)


def test_images_of_a_batch_do_not_mix() -> None:
    found, expected = restore_both(lively(), torch.rand(3, 3, 32, 48))
    torch.testing.assert_close(found, expected, atol=ROUNDING, rtol=0)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_any_memory_format_gives_the_same_result(layout: torch.memory_format) -> None:
    image = torch.rand(1, 3, 40, 56).contiguous(memory_format=layout)
    found, expected = restore_both(lively(), image)
    torch.testing.assert_close(found, expected, atol=ROUNDING, rtol=0)


@pytest.mark.parametrize(
    "config",
    [
        LFDNConfig(blocks=1),
        LFDNConfig(blocks=6),
        LFDNConfig(gram="sum"),
        NETWORKS["lite"],
        LFDNConfig(residual=False),
        LFDNConfig(widths=(4, 6, 8, 10, 12), cca_reduction=2),
    ],
)
def test_other_sizes_of_the_default_parts_are_rewritten(config: LFDNConfig) -> None:
    network = lively(config)
    assert isinstance(optimize_for_cpu(network), CpuLFDN)
    found, expected = restore_both(network, torch.rand(1, 3, 48, 64))
    torch.testing.assert_close(found, expected, atol=ROUNDING, rtol=0)


@pytest.mark.parametrize(
    "config",
    [LFDNConfig(encoder="plain"), LFDNConfig(block="rfdb"), LFDNConfig(fusion="concat")],
)
def test_other_parts_are_not_rewritten(config: LFDNConfig) -> None:
    network = LFDN(config)
    assert optimize_for_cpu(network) is network


@pytest.mark.parametrize("content", ["noise", "black", "white", "one bright dot", "half"])
def test_packaged_weights_agree_on_images_without_contrast(content: str) -> None:
    """Variances computed from products lose precision where they are close to zero."""
    image = {
        "noise": torch.rand(1, 3, 64, 96),
        "black": torch.zeros(1, 3, 64, 96),
        "white": torch.ones(1, 3, 64, 96),
        "one bright dot": torch.zeros(1, 3, 64, 96).index_put_(
            (torch.tensor(0), torch.tensor(0), torch.tensor(9), torch.tensor(9)), torch.tensor(1.0)
        ),
        "half": torch.cat([torch.zeros(1, 3, 64, 48), torch.ones(1, 3, 64, 48)], dim=3),
    }[content]
    found, expected = restore_both(load("derain"), image)
    torch.testing.assert_close(found, expected, atol=1 / 255 / 10, rtol=0)


def test_convolutions_keep_the_layout_of_images() -> None:
    """Another layout has the same numbers, but costs two passes over memory for each layer."""
    optimized = optimize_for_cpu(LFDN())
    kept: list[bool] = []

    def check(conv: nn.Module, _: object, out: Tensor) -> None:
        if isinstance(conv, nn.Conv2d) and conv.kernel_size != (1, 1):
            kept.append(out.is_contiguous(memory_format=torch.channels_last))

    for part in optimized.modules():
        part.register_forward_hook(check)
    optimized(torch.rand(1, 3, 48, 64))
    assert len(kept) > 20
    assert all(kept)


def test_original_network_is_not_changed() -> None:
    network = lively().eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    optimize_for_cpu(network)(torch.rand(1, 3, 32, 32))
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
