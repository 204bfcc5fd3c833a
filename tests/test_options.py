"""Option values: what can never work is refused when it is given."""

from collections.abc import Callable
from fractions import Fraction

import pytest

from lfdn_video.errors import OptionError
from lfdn_video.options import (
    CODEC_DEFAULTS,
    CONTAINER_CODECS,
    DEFAULT_CODEC,
    EncodeOptions,
    InferenceOptions,
    SpanOptions,
)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: EncodeOptions(frame_rate=Fraction(0)),
        lambda: InferenceOptions(precision="float8"),  # type: ignore[arg-type]  # on purpose
        lambda: InferenceOptions(network="huge"),  # type: ignore[arg-type]  # on purpose
        lambda: InferenceOptions(tile=16),
        lambda: InferenceOptions(tile="some"),  # type: ignore[arg-type]  # on purpose
        lambda: InferenceOptions(tile=128, overlap_px=64),
        lambda: InferenceOptions(overlap_px=-1),
        lambda: InferenceOptions(batch=0),
        lambda: InferenceOptions(batch="all"),  # type: ignore[arg-type]  # on purpose
        lambda: SpanOptions(start_s=-1),
        lambda: SpanOptions(start_s=2, end_s=2),
    ],
)
def test_impossible_value_is_refused(wrong: Callable[[], object]) -> None:
    with pytest.raises(OptionError):
        wrong()


def test_error_lists_the_choices() -> None:
    with pytest.raises(OptionError, match="none of auto, float32, bfloat16, float16"):
        InferenceOptions(precision="half")  # type: ignore[arg-type]  # on purpose


def test_span_without_ends_is_whole() -> None:
    assert SpanOptions().whole
    assert SpanOptions(start_s=0).whole
    assert not SpanOptions(end_s=1).whole


def test_default_codec_has_a_high_quality() -> None:
    assert float(CODEC_DEFAULTS[DEFAULT_CODEC]["crf"]) <= 18


def test_default_codec_of_every_container_has_options() -> None:
    assert set(CONTAINER_CODECS.values()) < set(CODEC_DEFAULTS)
