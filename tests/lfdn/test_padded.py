"""The forward pass with padded channels against the network's own: values and gradients."""

import pytest
import torch

from lfdn import LFDN, LFDNConfig, load
from lfdn.training import padded

SMALL = LFDNConfig(widths=(6, 10, 18, 11, 13), blocks=2)


def build(source: str) -> LFDN:
    """Load packaged weights, or make a small network whose fusion does something."""
    torch.manual_seed(1)
    network = LFDN(SMALL) if source == "small" else load(source)
    for name in ("fusion.alfm.theta", "fusion.acfm.alpha"):
        network.get_parameter(name).data.fill_(0.3)
    return network.train().requires_grad_()


@pytest.mark.parametrize("name", ["small", "derain", "deblur"])
def test_result_and_gradients_are_those_of_the_network(name: str) -> None:
    # In float64: ReLUs close to their kink turn float32's rounding into other gradients.
    network = build(name).double()
    image = torch.rand(2, 3, 40, 56, dtype=torch.float64)
    goal = torch.rand_like(image)
    results, gradients = [], []
    for compute in (network, lambda x: padded.forward(network, x)):
        network.zero_grad()
        result = compute(image)
        (result - goal).square().mean().backward()
        results.append(result.detach())
        gradients.append({n: p.grad.clone() for n, p in network.named_parameters()})  # type: ignore[union-attr]
    torch.testing.assert_close(results[1], results[0], rtol=1e-9, atol=1e-9)
    # A bias before a normalization has no gradient but rounding.
    rounding = 1e-10 * max(gradient.abs().max() for gradient in gradients[0].values())
    for parameter, gradient in gradients[0].items():
        limit = 1e-8 * gradient.abs().max() + rounding
        assert (gradients[1][parameter] - gradient).abs().max() <= limit, parameter


def test_channels_are_multiples_of_eight(monkeypatch: pytest.MonkeyPatch) -> None:
    network = LFDN()
    counts = set()
    convolve = padded._convolve

    def watch(*arguments: object) -> torch.Tensor:
        result = convolve(*arguments)  # type: ignore[arg-type]
        counts.add(result.shape[1])
        return result

    monkeypatch.setattr(padded, "_convolve", watch)
    with torch.no_grad():
        padded.forward(network, torch.rand(1, 3, 32, 32))
    squeezed, shuffled = 3, 12  # the attention's, and the last one before the image
    assert {count for count in counts if count % 8} == {squeezed, shuffled}


@pytest.mark.parametrize(
    "config", [LFDNConfig(encoder="plain"), LFDNConfig(block="conv"), LFDNConfig(fusion="concat")]
)
def test_other_networks_are_not_supported(config: LFDNConfig) -> None:
    assert not padded.supports(LFDN(config))
    assert padded.supports(LFDN())
