"""The network against the figures and equations of the paper, and its contract."""

import itertools
from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from lfdn import LFDN, LFDNConfig
from lfdn.model import ACFM, ALFM, FDNB, InstanceNorm, pad_to_multiple

SMALL = LFDNConfig(widths=(8, 8, 8, 12, 16), blocks=2)

ABLATIONS = {
    "without MSHF": LFDNConfig(encoder="plain"),
    "RFDB": LFDNConfig(block="rfdb"),
    "CNN": LFDNConfig(block="conv"),
    "without ALFM and ACFM": LFDNConfig(fusion="concat"),
    "without everything": LFDNConfig(encoder="plain", block="conv", fusion="concat"),
    "Eq. 9 to the letter": LFDNConfig(gram="sum"),
    "no residual": LFDNConfig(residual=False),
    **{f"{count} blocks": LFDNConfig(blocks=count) for count in range(1, 7)},
}


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_parameter_count_is_the_papers() -> None:
    assert count(LFDN()) == pytest.approx(1.55e6, rel=0.01)


def test_parameter_count_of_a_block_is_that_of_table_9() -> None:
    assert count(FDNB(50, 16)) == pytest.approx(0.030e6, rel=0.01)


def test_a_720p_image_takes_at_most_130_gflop() -> None:
    with torch.device("meta"):
        network, image = LFDN(), torch.empty(1, 3, 720, 1280)
    with FlopCounterMode(display=False) as counter:
        network(image)
    assert counter.get_total_flops() <= 130e9


@pytest.mark.parametrize("config", ABLATIONS.values(), ids=ABLATIONS)
def test_every_ablation_runs_forward_and_backward(config: LFDNConfig) -> None:
    network = LFDN(config)
    network(torch.rand(1, 3, 32, 32)).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


def test_theta_and_alpha_start_at_zero_and_receive_gradient() -> None:
    network = LFDN(SMALL)
    network(torch.rand(1, 3, 32, 32)).square().sum().backward()
    scalars = {n: p for n, p in network.named_parameters() if n.endswith(("theta", "alpha"))}
    assert set(scalars) == {"fusion.alfm.theta", "fusion.acfm.alpha"}
    for scalar in scalars.values():
        assert scalar.item() == 0
        assert scalar.grad is not None
        assert scalar.grad.item() != 0


@pytest.mark.parametrize("size", [(1, 1), (5, 7), (16, 16), (17, 33), (30, 100)])
def test_output_has_the_size_of_the_input(size: tuple[int, int]) -> None:
    image = torch.rand(1, 3, *size)
    with torch.inference_mode():
        assert LFDN(SMALL)(image).shape == image.shape


def test_untrained_network_is_nearly_the_identity() -> None:
    image = torch.rand(1, 3, 48, 48)
    with torch.inference_mode():
        assert (LFDN()(image) - image).abs().max() < 0.05


def test_images_of_a_batch_do_not_influence_each_other() -> None:
    network, images = LFDN(SMALL).eval(), torch.rand(3, 3, 32, 48)
    with torch.inference_mode():
        together = network(images)
        alone = torch.cat([network(image[None]) for image in images])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


def test_output_is_not_clamped() -> None:
    image = 1.5 * torch.ones(1, 3, 32, 32)
    with torch.inference_mode():
        assert LFDN(SMALL)(image).max() > 1.2


def test_padding_reflects_and_then_replicates() -> None:
    image = torch.arange(3.0).view(1, 1, 1, 3)
    assert pad_to_multiple(image, 8)[0, 0, 0].tolist() == [0, 1, 2, 1, 0, 0, 0, 0]


def test_alfm_is_equations_9_and_10() -> None:
    group = torch.rand(2, 6, 4, 5)
    module = ALFM("sum")
    torch.nn.init.constant_(module.theta, 0.3)
    rows = group.flatten(2)
    attention = torch.softmax(torch.bmm(rows, rows.mT), dim=-1)
    expected = 0.3 * torch.bmm(attention, rows) + rows
    torch.testing.assert_close(module(group), expected.view_as(group))


def test_mean_gram_does_not_depend_on_the_image_size() -> None:
    module = ALFM("mean")
    torch.nn.init.constant_(module.theta, 0.5)
    small = torch.rand(1, 6, 8, 8)
    large = small.tile(1, 1, 3, 3)
    torch.testing.assert_close(module(large)[..., :8, :8], module(small))


def test_acfm_is_equation_11_with_three_dimensional_convolutions() -> None:
    module, features = ACFM(), torch.rand(2, 10, 6, 7)
    torch.nn.init.constant_(module.alpha, 0.4)
    volume = features[:, None]
    kernel, line = module.spatial.weight[:, :, None], module.across.weight[..., None, None]
    spatial = torch.relu(
        torch.nn.functional.conv3d(volume, kernel, module.spatial.bias, padding=(0, 1, 1))
    )
    logits = torch.nn.functional.conv3d(spatial, line, module.across.bias, padding=(1, 0, 0))
    expected = features + 0.4 * torch.sigmoid(logits[:, 0]) * features
    torch.testing.assert_close(module(features), expected)


def test_instance_norm_agrees_with_torch() -> None:
    features = 5 * torch.rand(2, 4, 9, 8) + 3
    expected = torch.nn.functional.instance_norm(features)
    torch.testing.assert_close(InstanceNorm()(features), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("field", "value"),
    [("widths", (8, 8, 7, 8, 8)), ("blocks", 0), ("encoder", "unet"), ("widths", (8, 8))],
)
def test_impossible_configuration_is_refused(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=field):
        replace(LFDNConfig(), **{field: value})  # type: ignore[arg-type]  # wrong on purpose


def test_autocast_keeps_the_gram_in_float32() -> None:
    module, group = ALFM("sum"), torch.full((1, 4, 64, 64), 8.0)
    torch.nn.init.ones_(module.theta)
    with torch.autocast("cpu", torch.float16):
        assert module(group.half()).isfinite().all()


def test_every_block_adds_the_same_number_of_parameters() -> None:
    sizes = [count(LFDN(replace(LFDNConfig(), blocks=blocks))) for blocks in range(1, 7)]
    steps = {after - before for before, after in itertools.pairwise(sizes)}
    assert len(steps) == 1


def test_compiler_sees_one_graph_under_autocast() -> None:
    """Breaks would be compiled apart, and again for each call."""
    network = LFDN(LFDNConfig(widths=(4, 4, 4, 4, 4), blocks=1))
    compiled = torch.compile(network, fullgraph=True, backend="eager")
    image = torch.rand(1, 3, 32, 32)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(compiled(image), network(image))
