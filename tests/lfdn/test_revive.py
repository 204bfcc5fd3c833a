"""Channels that never fire get new weights; the network computes the same until it learns."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from lfdn import LFDN, LFDNConfig
from lfdn.datasets import layouts
from lfdn.datasets.crops import CropStage
from lfdn.model import MSHF
from lfdn.training.revive import revive
from lfdn.training.train import TrainOptions, train
from tests.support import datasets

SMALL = LFDNConfig(widths=(8, 8, 8, 8, 8), blocks=1)


def encoder_of(network: LFDN) -> MSHF:
    assert isinstance(network.encoder, MSHF)
    return network.encoder


@pytest.fixture
def network() -> LFDN:
    """A network with a residual block that is dead, as the packaged ones have."""
    torch.manual_seed(1)
    made = LFDN(SMALL)
    first = encoder_of(made).res_3.conv_1
    assert first.bias is not None
    with torch.no_grad():
        first.bias.fill_(-100)
    return made


def test_network_computes_the_same(network: LFDN) -> None:
    images = torch.rand(4, 3, 48, 48)
    with torch.no_grad():
        before = network(images)
        revived = revive(network, images, seed=1)
        after = network(images)
    assert revived["encoder.res_3.conv_1"] == 8
    assert (after - before).abs().max() < 1e-5


def test_revived_channels_fire_and_the_others_stay(network: LFDN) -> None:
    images, res = torch.rand(4, 3, 64, 64), encoder_of(network).res_3
    with torch.no_grad():
        encoder_of(network).res_2.conv_1.weight[3] *= 0  # one dead channel among live ones
    kept = encoder_of(network).res_2.conv_1.weight.clone()
    dead = revive(network, images, seed=1)["encoder.res_2.conv_1"]
    assert dead < 8
    changed = (encoder_of(network).res_2.conv_1.weight != kept).flatten(1).any(1)
    assert int(changed.sum()) == dead
    fired: list[Tensor] = []

    def watch(_: nn.Module, __: object, result: Tensor) -> None:
        fired.append((result > 0).float().mean(dim=(0, 2, 3)))

    res.conv_1.register_forward_hook(watch)
    network(images)
    assert fired[0].min() > 0.02


def test_revived_channels_learn(network: LFDN, tmp_path: Path) -> None:
    samples = layouts.read_side_by_side(datasets.make_rain800(tmp_path / "pairs", 4))
    options = TrainOptions(
        steps=20, stages=(CropStage(1.0, 32, 2),), warmup_steps=1, revive=True, optimizer="muon"
    )
    train(samples, tmp_path / "run", options=options, initial=network)
    saved = torch.load(tmp_path / "run" / "last.pt", weights_only=True)["network"]
    assert (saved["encoder.res_3.conv_2.weight"].abs().amax(dim=(0, 2, 3)) > 0).all()
    before = encoder_of(network).res_3.conv_1.weight
    assert not torch.equal(saved["encoder.res_3.conv_1.weight"], before)
    options = replace(options, revive=False)
    train(samples, tmp_path / "without", options=options, initial=network)
    saved = torch.load(tmp_path / "without" / "last.pt", weights_only=True)["network"]
    first = saved["encoder.res_3.conv_1.bias"]
    assert first.max() < -90  # still dead
