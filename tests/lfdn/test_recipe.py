"""Options, presets and the learning rate."""

import math

import pytest

from lfdn.training.recipe import (
    PAPER_DECAY_STEPS,
    TrainOptions,
    build_options,
    compute_learning_rate,
)


def test_paper_preset_is_the_papers_recipe() -> None:
    options = build_options("paper", "deblur")
    assert (options.loss, options.optimizer) == ("mse", "adam")
    assert (options.learning_rate, options.weight_decay) == (1e-4, 1e-4)
    steps = (0, PAPER_DECAY_STEPS - 1, PAPER_DECAY_STEPS, 2 * PAPER_DECAY_STEPS)
    rates = [compute_learning_rate(options, step) for step in steps]
    assert rates == pytest.approx([1e-4, 1e-4, 1e-5, 1e-6])


def test_explicit_options_override_the_preset() -> None:
    options = build_options("default", "deblur", learning_rate=3e-4, steps=None)
    assert options.learning_rate == 3e-4
    assert options.steps == build_options("default", "deblur").steps


def test_learning_rate_warms_up_and_falls_to_zero() -> None:
    options = TrainOptions(steps=1000, warmup_steps=100, learning_rate=1.0)
    rates = [compute_learning_rate(options, step) for step in range(1000)]
    assert rates[0] == pytest.approx(0.01)
    assert max(rates) == pytest.approx(0.5 * (1 + math.cos(math.pi * 0.1)), rel=0.01)
    assert rates[999] < 1e-5
    assert rates[100:] == sorted(rates[100:], reverse=True)


def test_easing_raises_hardness_over_the_first_steps() -> None:
    options = TrainOptions(task="deblur", steps=100, easing=0.2)
    assert [options.compute_hardness(step) for step in (0, 10, 20, 99)] == pytest.approx(
        [0, 0.5, 1, 1]
    )


def test_hardness_is_one_without_easing() -> None:
    assert TrainOptions().compute_hardness(0) == 1


@pytest.mark.parametrize(
    ("device", "precision", "half"),
    [
        ("cpu", "auto", False),
        ("cuda", "auto", True),
        ("cpu", "bfloat16", True),
        ("cuda", "float32", False),
    ],
)
def test_auto_precision_is_bfloat16_on_gpus_only(device: str, precision: str, half: bool) -> None:
    assert TrainOptions(precision=precision).uses_autocast(device) is half  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("field", "words"),
    [({"loss": "l3"}, "charbonnier, log_mse, mse"), ({"steps": 0}, "steps: at least 1 is needed")],
)
def test_invalid_options_are_refused(field: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        TrainOptions(**field)  # type: ignore[arg-type]
