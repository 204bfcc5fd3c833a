"""Options of encoders: defaults, the user's choice, and what is refused."""

import pytest

from lfdn_video.errors import OptionError
from lfdn_video.options import EncodeOptions
from lfdn_video.output.encoder import find_codec
from lfdn_video.output.encoder_options import resolve_options


def test_misspelt_option_is_refused_with_the_closest_name() -> None:
    options = EncodeOptions(codec_options={"aq-stength": "1"})
    with pytest.raises(
        OptionError, match="no such option: 'aq-stength'; did you mean 'aq-strength'"
    ):
        resolve_options(find_codec("libx264"), options)


@pytest.mark.parametrize("codec", ["libx264", "libx265", "libsvtav1", "libvpx-vp9"])
def test_crf_is_passed_to_codecs_that_have_it(codec: str) -> None:
    resolved = resolve_options(find_codec(codec), EncodeOptions(codec=codec, crf=21.5))
    assert resolved["crf"] == "21.5"


@pytest.mark.parametrize("codec", ["ffv1", "prores_ks", "mjpeg"])
def test_crf_is_refused_by_codecs_without_it(codec: str) -> None:
    with pytest.raises(OptionError, match=f"crf: {codec} has no constant-quality mode"):
        resolve_options(find_codec(codec), EncodeOptions(codec=codec, crf=20))


def test_preset_is_refused_by_codecs_without_presets() -> None:
    with pytest.raises(OptionError, match="preset: ffv1 has no presets"):
        resolve_options(find_codec("ffv1"), EncodeOptions(preset="slow"))


def test_bit_rate_option_replaces_the_default_quality() -> None:
    resolved = resolve_options(find_codec("libx264"), EncodeOptions(codec_options={"b": "2M"}))
    assert resolved.items() >= {"preset": "medium", "b": "2M"}.items()
    assert "crf" not in resolved


def test_x264_is_limited_to_avx2_on_a_cpu_with_avx512(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lfdn_video.output.encoder_options._has_avx512", lambda: True)
    own = EncodeOptions(codec_options={"x264-params": "aq-mode=3"})
    assert resolve_options(find_codec("libx264"), EncodeOptions())["x264-params"] == "asm=avx2"
    assert resolve_options(find_codec("libx264"), own)["x264-params"] == "asm=avx2:aq-mode=3"
    assert "x264-params" not in resolve_options(find_codec("libx265"), EncodeOptions())


def test_x264_is_not_limited_on_a_cpu_without_avx512(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("lfdn_video.output.encoder_options._has_avx512", lambda: False)
    assert "x264-params" not in resolve_options(find_codec("libx264"), EncodeOptions())


def test_user_x265_params_are_appended_to_the_default_ones() -> None:
    options = EncodeOptions(codec="libx265", codec_options={"x265-params": "bframes=2"})
    resolved = resolve_options(find_codec("libx265"), options)
    assert resolved["x265-params"] == "log-level=error:bframes=2"


@pytest.mark.parametrize(("codec", "crf"), [("libx264", 52), ("libsvtav1", 64), ("libx265", -1)])
def test_crf_out_of_range_is_refused(codec: str, crf: float) -> None:
    with pytest.raises(OptionError, match=f"crf: {codec} takes 0"):
        resolve_options(find_codec(codec), EncodeOptions(codec=codec, crf=crf))
