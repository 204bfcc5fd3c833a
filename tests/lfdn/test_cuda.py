"""The network rewritten for a GPU gives the same result as the original, here on the CPU."""

import pytest
import torch
from torch import Tensor, nn

from lfdn import LFDN, LFDNConfig, load
from lfdn.config import NETWORKS
from lfdn.cuda import CudaLFDN, PaddedLFDN, optimize_for_cuda
from lfdn.cuda_layers import Block, Conv, Fusion, Res, Up, compute_gram
from lfdn.padded import Channels
from tests.lfdn.test_cpu import lively

ROUNDING = {torch.float32: 1e-5, torch.float64: 1e-12}
"""Of images in 0…1."""
SIZES = [(48, 64), (16, 16), (17, 33), (1, 1), (1, 40), (100, 3)]


def assert_agree(network: LFDN, image: Tensor) -> None:
    network.eval()
    with torch.inference_mode():
        expected = network(image)
    found = optimize_for_cuda(network)(image)
    assert found.dtype == image.dtype
    torch.testing.assert_close(found, expected, atol=ROUNDING[image.dtype], rtol=0)


@pytest.mark.parametrize("dtype", ROUNDING)
@pytest.mark.parametrize("size", SIZES)
def test_any_size_gives_the_same_result(size: tuple[int, int], dtype: torch.dtype) -> None:
    assert_agree(lively().to(dtype), torch.rand(2, 3, *size, dtype=dtype))


@pytest.mark.parametrize(
    "config",
    [
        LFDNConfig(blocks=1),
        LFDNConfig(blocks=6),
        LFDNConfig(gram="sum"),
        NETWORKS["lite"],
        LFDNConfig(residual=False),
        LFDNConfig(widths=(4, 6, 8, 10, 12), cca_reduction=2),
        LFDNConfig(widths=(32, 63, 64, 95, 128)),
    ],
)
def test_other_sizes_of_the_default_parts_are_rewritten(config: LFDNConfig) -> None:
    network = lively(config).double()
    assert isinstance(optimize_for_cuda(network), CudaLFDN)
    assert_agree(network, torch.rand(1, 3, 48, 64, dtype=torch.float64))


@pytest.mark.parametrize(
    "config",
    [LFDNConfig(encoder="plain"), LFDNConfig(block="rfdb"), LFDNConfig(fusion="concat")],
)
def test_other_parts_are_not_rewritten(config: LFDNConfig) -> None:
    network = LFDN(config)
    assert optimize_for_cuda(network) is network


@pytest.mark.parametrize("name", ["derain", "deblur", "derain_lite"])
@pytest.mark.parametrize("content", ["noise", "black", "white", "half"])
def test_packaged_weights_agree(name: str, content: str) -> None:
    image = {
        "noise": torch.rand(2, 3, 50, 97),
        "black": torch.zeros(1, 3, 64, 96),
        "white": torch.ones(1, 3, 64, 96),
        "half": torch.cat([torch.zeros(1, 3, 64, 48), torch.ones(1, 3, 64, 48)], dim=3),
    }[content]
    assert_agree(load(name), image)


@pytest.mark.parametrize("align", [8, 16, 32, 64])
def test_any_padding_gives_the_same_result(align: int) -> None:
    network, image = lively().eval(), torch.rand(1, 3, 32, 48)
    with torch.inference_mode():
        found = PaddedLFDN(network, torch.float32, align=align)(image)
        expected = network(image)
    torch.testing.assert_close(found, expected, atol=ROUNDING[torch.float32], rtol=0)


def test_consecutive_images_do_not_mix() -> None:
    network = lively().eval()
    optimized = optimize_for_cuda(network)
    for size in [(32, 48), (48, 32), (32, 48)]:
        image = torch.rand(1, 3, *size)
        with torch.inference_mode():
            expected = network(image)
        torch.testing.assert_close(optimized(image), expected, atol=1e-5, rtol=0)


def test_padded_channels_stay_zero_or_one() -> None:
    """Whatever is in the real channels; else a sum over positions, or a NaN, would spread."""
    network = lively()
    form = PaddedLFDN(network, torch.float32)
    *_, w3, w4 = (Channels.pad(width) for width in network.config.widths)
    w2 = Channels.pad_halves(network.config.channels)
    by_size = {w3.padded: w3, w4.padded: w4, w2.padded: w2}
    seen: dict[type, int] = {}

    def check(part: nn.Module, _: object, out: Tensor) -> None:
        if not isinstance(part, (Res, Up, Block, Fusion, Conv)):
            return
        channels = by_size.get(out.shape[1])
        if channels is None:  # inside a block or an upblock
            return
        padding = set(range(channels.padded)) - set(channels.places)
        assert not out[:, sorted(padding - {channels.one})].any()
        one = out[:, channels.one]
        assert torch.equal(one, torch.zeros_like(one)) or torch.equal(one, torch.ones_like(one))
        seen[type(part)] = seen.get(type(part), 0) + 1

    for part in form.modules():
        part.register_forward_hook(check)
    with torch.inference_mode():
        form(torch.rand(2, 3, 32, 48))
    assert seen[Res] == 7
    assert seen[Up] == 3
    assert seen[Block] == 4
    assert seen[Fusion] == 1


def test_kernels_of_padded_channels_are_zero() -> None:
    """Each padded input but the one that is 1 has no effect, and no weight."""
    form = PaddedLFDN(lively(), torch.float32)
    w2 = Channels.pad_halves(50)
    kernel = form.first.conv_2.get_buffer("kernel")
    padding = sorted(set(range(w2.padded)) - set(w2.places))
    assert not kernel[:, [each for each in padding if each != w2.one]].any()
    assert not kernel[[each for each in padding if each != w2.one]].any()


def test_features_are_channels_last_throughout() -> None:
    """Another layout has the same numbers, but costs two passes over memory for each layer."""
    form = PaddedLFDN(LFDN(), torch.float32)
    kept: list[bool] = []

    def check(part: nn.Module, inputs: tuple[Tensor, ...], out: Tensor) -> None:
        if isinstance(part, (Conv, Res, Up, Block)):
            kept.extend(
                each.is_contiguous(memory_format=torch.channels_last) for each in (inputs[0], out)
            )

    for part in form.modules():
        part.register_forward_hook(check)
    with torch.inference_mode():
        form(torch.rand(2, 3, 48, 64))
    assert len(kept) > 40
    assert all(kept)


@pytest.mark.parametrize("count", [1, 2])
def test_half_precision_is_as_good_as_autocast(count: int) -> None:
    """In bfloat16, which CPUs compute in: the products of positions stay exact enough."""
    network, image = load("derain").eval(), torch.rand(count, 3, 64, 96)
    optimized = optimize_for_cuda(network)
    with torch.inference_mode():
        exact = network(image)
        with torch.autocast("cpu", torch.bfloat16):
            usual, found = network(image), optimized(image)
    assert found.dtype == torch.float32
    assert (found - exact).square().mean() <= 1.5 * (usual - exact).square().mean()


def test_overflow_is_not_hidden_by_relu() -> None:
    """Where no other path would show it, ReLU keeps NaN; elsewhere cuDNN's may turn it into 0."""
    network = lively()
    form = PaddedLFDN(network, torch.float16)
    assert not form.entry.refine.keep_nan
    assert not form.down_2.refine.keep_nan
    assert form.down_3.refine.keep_nan
    with torch.no_grad():
        network.head.weight.mul_(1e6)
    form = PaddedLFDN(network, torch.float16)
    assert form.entry.first.keep_nan  # its weights are infinite already
    assert form.entry.refine.keep_nan
    assert form.down_2.reduce.keep_nan
    assert form.down_2.refine.keep_nan


@pytest.mark.parametrize("first", [0, 8])
def test_gram_is_the_sum_of_products(first: int) -> None:
    features = torch.rand(2, 12, 20, 24, dtype=torch.float64)
    rows = features.flatten(1, 2)[..., first:]
    expected = rows.transpose(1, 2) @ rows
    torch.testing.assert_close(compute_gram(features, first=first), expected)


def test_original_network_is_not_changed() -> None:
    network = lively().eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    optimize_for_cuda(network)(torch.rand(1, 3, 32, 32))
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.needs_cuda
@pytest.mark.parametrize("name", ["derain", "deblur", "derain_lite"])
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 2e-3), (torch.float16, 2e-3), (torch.bfloat16, 2e-2)]
)
def test_cuda_agrees_with_float32(name: str, dtype: torch.dtype, tolerance: float) -> None:
    """Within half a step of 8 bits in float16 and TF32."""
    network, image = load(name).eval(), torch.rand(2, 3, 90, 161)
    with torch.inference_mode():
        expected = network(image)
    with torch.autocast("cuda", dtype, enabled=dtype != torch.float32):
        found = optimize_for_cuda(network).cuda()(image.cuda())
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.cpu(), expected, atol=tolerance, rtol=0)


@pytest.mark.needs_cuda
@pytest.mark.parametrize("layer", ["head", "encoder.down_2.reduce", "encoder.down_3.reduce"])
def test_overflow_on_cuda_is_noticed(layer: str) -> None:
    network = load("derain")
    with torch.no_grad():
        network.get_parameter(f"{layer}.weight").mul_(1e7)
    with torch.autocast("cuda", torch.float16):
        found = optimize_for_cuda(network).cuda()(torch.rand(1, 3, 64, 96).cuda())
    assert not torch.isfinite(found.sum())
