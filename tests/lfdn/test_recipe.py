"""Options, presets and the learning rate."""

import math

import pytest

from lfdn.training.recipe import PAPER_DECAY_STEPS, TrainOptions, learning_rate, preset


def test_the_papers_preset_is_the_papers_recipe() -> None:
    options = preset("paper", "deblur")
    assert (options.loss, options.optimizer) == ("mse", "adam")
    assert (options.learning_rate, options.weight_decay) == (1e-4, 1e-4)
    steps = (0, PAPER_DECAY_STEPS - 1, PAPER_DECAY_STEPS, 2 * PAPER_DECAY_STEPS)
    rates = [learning_rate(options, step) for step in steps]
    assert rates == pytest.approx([1e-4, 1e-4, 1e-5, 1e-6])


def test_what_is_given_comes_before_the_preset() -> None:
    options = preset("default", "deblur", learning_rate=3e-4, steps=None)
    assert options.learning_rate == 3e-4
    assert options.steps == preset("default", "deblur").steps


def test_our_rate_warms_up_and_falls_to_zero() -> None:
    options = TrainOptions(steps=1000, warmup_steps=100, learning_rate=1.0)
    rates = [learning_rate(options, step) for step in range(1000)]
    assert rates[0] == pytest.approx(0.01)
    assert max(rates) == pytest.approx(0.5 * (1 + math.cos(math.pi * 0.1)), rel=0.01)
    assert rates[999] < 1e-5
    assert rates[100:] == sorted(rates[100:], reverse=True)


def test_blur_grows_harder_over_the_first_steps() -> None:
    options = TrainOptions(task="deblur", steps=100, easing=0.2)
    assert [options.hardness(step) for step in (0, 10, 20, 99)] == pytest.approx([0, 0.5, 1, 1])


def test_without_easing_all_blur_is_there_from_the_start() -> None:
    assert TrainOptions().hardness(0) == 1


@pytest.mark.parametrize(
    ("device", "precision", "half"),
    [
        ("cpu", "auto", False),
        ("cuda", "auto", True),
        ("cpu", "bfloat16", True),
        ("cuda", "float32", False),
    ],
)
def test_auto_is_half_precision_on_gpus_alone(device: str, precision: str, half: bool) -> None:
    assert TrainOptions(precision=precision).autocast(device) is half  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("field", "words"),
    [({"loss": "l3"}, "charbonnier, log_mse, mse"), ({"steps": 0}, "steps: at least 1 is needed")],
)
def test_bad_options_are_named(field: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        TrainOptions(**field)  # type: ignore[arg-type]
