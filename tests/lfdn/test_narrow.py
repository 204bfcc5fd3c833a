"""A narrower network, fitted layer by layer to a wide one."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from lfdn import LFDN, LFDNConfig
from lfdn.training.narrow import choose_channels, fit_conv, narrow

WIDE = LFDNConfig(widths=(8, 8, 8, 8, 8), blocks=2, cca_reduction=4)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(3)


@pytest.fixture
def wide() -> LFDN:
    """A network whose output differs clearly from its input."""
    network = LFDN(WIDE).eval()
    for parameter in network.decoder[3].parameters():
        parameter.data.mul_(20)
    return network


def draw_images() -> Tensor:
    return nn.functional.interpolate(torch.rand(12, 3, 12, 12), size=48, mode="bilinear")


def measure_error(found: Tensor, wanted: Tensor, image: Tensor) -> float:
    """The share of what the wide network adds that the other one does not."""
    error = (found - wanted).square().mean() / (wanted - image).square().mean()
    return float(error)


def test_copies_of_a_channel_are_not_chosen_twice() -> None:
    one, other = torch.rand(2, 4, 1, 16, 16)
    chosen = choose_channels(torch.cat([one, one, other, other * 0.5], dim=1), 2)
    assert [index // 2 for index in chosen.tolist()] == [0, 1]


def test_as_many_channels_are_chosen_from_each_group() -> None:
    features = torch.rand(2, 8, 16, 16) * torch.tensor([9.0] * 4 + [1.0] * 4).view(1, 8, 1, 1)
    chosen = choose_channels(features, 4, groups=2)
    assert (chosen < 4).sum() == 2


@pytest.mark.parametrize(("size", "stride"), [(1, 1), (3, 1), (3, 2)])
@torch.no_grad()
def test_known_convolution_is_found(
    size: int, stride: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lfdn.training.narrow.RIDGE", 0)
    known, fitted = (nn.Conv2d(5, 4, size, stride, size // 2) for _ in range(2))
    features = torch.rand(3, 5, 24, 24)
    fit_conv(fitted, features, known(features))
    torch.testing.assert_close(fitted(features), known(features), atol=1e-3, rtol=0)


@torch.no_grad()
def test_input_that_hardly_varies_gets_no_large_kernel() -> None:
    conv, features = nn.Conv2d(2, 1, 1), torch.rand(3, 2, 24, 24)
    features[:, 0] *= 1e-3
    fit_conv(conv, features, torch.randn(3, 1, 24, 24))
    assert conv.weight.abs().max() < 1


@torch.no_grad()
def test_convolution_without_a_target_stays_as_it_is() -> None:
    conv = nn.Conv2d(3, 4, 3, padding=1)
    before = conv.weight.clone()
    fit_conv(conv, torch.rand(2, 3, 16, 16), torch.zeros(2, 4, 16, 16))
    assert torch.equal(conv.weight, before)


def test_network_of_the_same_widths_computes_nearly_the_same(wide: LFDN) -> None:
    image = draw_images()
    with torch.inference_mode():
        wanted = wide(image)
    begun = narrow(wide, WIDE, image, wanted.clone())
    with torch.inference_mode():
        assert measure_error(begun(image), wanted, image) < 0.05


def test_narrow_network_is_closer_to_the_wide_one_than_a_random_one(wide: LFDN) -> None:
    image, config = draw_images(), replace(WIDE, widths=(6, 6, 6, 6, 6))
    with torch.inference_mode():
        wanted = wide(image)
    begun = narrow(wide, config, image, wanted.clone())
    assert begun.config == config
    with torch.inference_mode():
        assert measure_error(begun(image), wanted, image) < 0.5
        assert measure_error(LFDN(config)(image), wanted, image) > 0.9


def test_dead_channels_keep_kernels_that_can_be_trained(wide: LFDN) -> None:
    nn.init.constant_(wide.get_parameter("encoder.down_4.refine.weight"), 0)
    nn.init.constant_(wide.get_parameter("encoder.down_4.refine.bias"), -1)
    begun = narrow(wide, WIDE, image := draw_images(), image)
    assert begun.get_parameter("encoder.down_4.refine.weight").abs().mean() > 0.01


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (replace(WIDE, block="rfdb"), "default parts"),
        (replace(WIDE, blocks=3), "widths alone"),
        (replace(WIDE, widths=(8, 8, 8, 8, 16)), "is not narrower than"),
    ],
)
def test_other_networks_are_refused(wide: LFDN, config: LFDNConfig, words: str) -> None:
    with pytest.raises(ValueError, match=f"^network: .*{words}"):
        narrow(wide, config, draw_images(), draw_images())
