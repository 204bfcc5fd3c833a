"""The student's loss beside a teacher."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from lfdn import LFDN, LFDNConfig
from lfdn.training.distillation import Teacher
from lfdn.training.losses import charbonnier, measure_damage
from lfdn.training.recipe import TrainOptions

SMALL = LFDNConfig(widths=(4, 4, 4, 4, 4), blocks=1)
CPU = torch.device("cpu")


@pytest.fixture
def network() -> LFDN:
    """A teacher that adds something, so that its output differs from its input."""
    teacher = LFDN(SMALL)
    teacher.get_parameter("decoder.3.conv.bias").data.fill_(0.1)
    return teacher


def measure(network: LFDN, weight: float, restored: Tensor, target: Tensor, rainy: Tensor) -> float:
    teacher = Teacher(network, TrainOptions(teacher_weight=weight), CPU)
    return teacher.compute_loss(restored, target, rainy).item()


def test_loss_is_the_weighted_mean_of_truth_and_teacher(network: LFDN) -> None:
    restored, target, rainy = torch.rand(3, 2, 3, 16, 16)
    taught = network.eval()(rainy).clamp(0, 1)
    damage = measure_damage(rainy, target)
    to_truth, to_teacher = (charbonnier(restored, goal, damage) for goal in (target, taught))
    expected = 0.75 * to_truth + 0.25 * to_teacher
    found = measure(network, 0.25, restored, target, rainy)
    assert found == pytest.approx(expected.item(), rel=1e-5)


def test_truth_stays_the_best_answer_below_one_half(network: LFDN) -> None:
    target, rainy = torch.rand(2, 2, 3, 16, 16)
    taught = network.eval()(rainy).detach().clamp(0, 1)
    between = (target + taught) / 2
    losses = [measure(network, 0.3, answer, target, rainy) for answer in (target, between, taught)]
    assert losses == sorted(losses)


def test_teacher_gets_no_gradient(network: LFDN) -> None:
    restored, target, rainy = torch.rand(3, 1, 3, 16, 16)
    restored.requires_grad_()
    Teacher(network, TrainOptions(), CPU).compute_loss(restored, target, rainy).backward()  # type: ignore[no-untyped-call]  # torch
    assert restored.grad is not None
    assert all(parameter.grad is None for parameter in network.parameters())


def test_digest_tells_teachers_apart(network: LFDN) -> None:
    options = TrainOptions()
    digest = Teacher(network, options, CPU).digest
    assert digest == Teacher(network, replace(options, teacher_weight=0.1), CPU).digest
    assert digest != Teacher(LFDN(SMALL), options, CPU).digest
