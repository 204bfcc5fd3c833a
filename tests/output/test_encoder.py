"""Encoders and their options: what cannot be is said before the first frame."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import pytest
from av.video.codeccontext import VideoCodecContext

from lfdn_video.errors import OptionError
from lfdn_video.media import Colour, Frame, PixelFormat, VideoInfo
from lfdn_video.options import EncodeOptions
from lfdn_video.output.encoder import Encoder, find_codec, resolve_options
from lfdn_video.planes import extract_planes
from tests.support.clips import noise


def info(name: str, *, size: tuple[int, int] = (64, 48), colour: Colour | None = None) -> VideoInfo:
    return VideoInfo(
        path=Path("in.mkv"),
        container="matroska",
        codec="ffv1",
        width=size[0],
        height=size[1],
        format=PixelFormat.parse(name),
        source_format=name,
        colour=colour or Colour(),
        time_base=Fraction(1, 25),
    )


def opened(encoder: Encoder) -> VideoCodecContext:
    context = av.CodecContext.create(encoder.codec, "w")
    assert isinstance(context, VideoCodecContext)
    encoder.configure(context, rate=Fraction(25))
    return context


def test_an_unknown_codec_is_refused_with_the_closest_one() -> None:
    with pytest.raises(OptionError, match=r"'libx246' is no encoder .* did you mean 'libx26"):
        find_codec("libx246")


def test_a_codec_for_sound_is_refused() -> None:
    with pytest.raises(OptionError, match="'aac' encodes audio, not video"):
        find_codec("aac")


def test_a_misspelt_option_is_refused_with_the_closest_one() -> None:
    options = EncodeOptions(codec_options={"aq-stength": "1"})
    with pytest.raises(
        OptionError, match="no such option: 'aq-stength'; did you mean 'aq-strength'"
    ):
        resolve_options(find_codec("libx264"), options)


@pytest.mark.parametrize("codec", ["libx264", "libx265", "libsvtav1", "libvpx-vp9"])
def test_crf_goes_to_the_codecs_that_have_it(codec: str) -> None:
    resolved = resolve_options(find_codec(codec), EncodeOptions(codec=codec, crf=21.5))
    assert resolved["crf"] == "21.5"


@pytest.mark.parametrize("codec", ["ffv1", "prores_ks", "mjpeg"])
def test_crf_is_refused_where_there_is_none(codec: str) -> None:
    with pytest.raises(OptionError, match=f"crf: {codec} has no constant-quality mode"):
        resolve_options(find_codec(codec), EncodeOptions(codec=codec, crf=20))


def test_a_preset_is_refused_where_there_is_none() -> None:
    with pytest.raises(OptionError, match="preset: ffv1 has no presets"):
        resolve_options(find_codec("ffv1"), EncodeOptions(preset="slow"))


def test_a_bit_rate_by_name_replaces_the_default_quality() -> None:
    resolved = resolve_options(find_codec("libx264"), EncodeOptions(codec_options={"b": "2M"}))
    assert resolved.items() >= {"preset": "medium", "b": "2M"}.items()
    assert "crf" not in resolved


def test_x264_leaves_its_unrepeatable_code_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lfdn_video.output.encoder._has_avx512", lambda: True)
    own = EncodeOptions(codec_options={"x264-params": "aq-mode=3"})
    assert resolve_options(find_codec("libx264"), EncodeOptions())["x264-params"] == "asm=avx2"
    assert resolve_options(find_codec("libx264"), own)["x264-params"] == "asm=avx2:aq-mode=3"
    assert "x264-params" not in resolve_options(find_codec("libx265"), EncodeOptions())


def test_x264_may_use_whatever_a_processor_without_avx512_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("lfdn_video.output.encoder._has_avx512", lambda: False)
    assert "x264-params" not in resolve_options(find_codec("libx264"), EncodeOptions())


def test_own_x265_parameters_are_added_to_ours() -> None:
    options = EncodeOptions(codec="libx265", codec_options={"x265-params": "bframes=2"})
    resolved = resolve_options(find_codec("libx265"), options)
    assert resolved["x265-params"] == "log-level=error:bframes=2"


@pytest.mark.parametrize(("option", "value"), [("preset", "swift"), ("crf", "low")])
def test_a_wrong_value_is_said_in_ffmpegs_words(option: str, value: str) -> None:
    encoder = Encoder(info("yuv420p"), EncodeOptions(codec_options={option: value}))
    with pytest.raises(OptionError, match=f"Error setting .*{value}"):
        opened(encoder)


@pytest.mark.parametrize(
    ("codec", "source", "chosen"),
    [
        ("libx264", "yuv420p", "yuv420p"),
        ("libx264", "yuvj420p", "yuvj420p"),
        ("libx264", "yuv422p10le", "yuv422p10le"),
        ("libx264", "gray", "gray"),
        ("libx264", "gbrp", "yuv444p"),
        ("libx264", "yuv420p12le", "yuv420p10le"),
        ("libsvtav1", "yuvj420p", "yuv420p"),
        ("ffv1", "gbrp", "bgr0"),
        ("ffv1", "yuvj420p", "yuv420p"),
        ("png", "gbrap16le", "rgba64be"),
        ("tiff", "gbrap", "rgba"),
        ("prores_ks", "yuv420p", "yuv422p10le"),
        ("mjpeg", "yuv422p", "yuvj422p"),
    ],
)
def test_the_closest_format_is_chosen(codec: str, source: str, chosen: str) -> None:
    encoder = Encoder(info(source, size=(256, 128)), EncodeOptions(codec=codec))
    assert opened(encoder).pix_fmt == chosen


def test_an_odd_size_gets_whole_chroma_samples_in_h264() -> None:
    encoder = Encoder(info("yuv420p", size=(63, 47)), EncodeOptions())
    assert opened(encoder).pix_fmt == "yuv444p"
    assert encoder.warnings == ["libx264 gets yuv444p made from yuv420p"]


def test_a_change_of_format_is_named_with_what_it_loses() -> None:
    encoder = Encoder(info("yuva420p"), EncodeOptions())
    assert encoder.warnings == ["libx264 gets yuv420p made from yuva420p, losing transparency"]


@pytest.mark.parametrize(("codec", "source"), [("ffv1", "gbrp"), ("libsvtav1", "yuvj420p")])
def test_samples_that_are_only_rearranged_need_no_warning(codec: str, source: str) -> None:
    assert Encoder(info(source), EncodeOptions(codec=codec)).warnings == []


def test_a_format_the_encoder_lacks_is_refused_with_those_it_has() -> None:
    options = EncodeOptions(codec="libsvtav1", pixel_format="yuv444p")
    with pytest.raises(OptionError, match="does not take yuv444p, only yuv420p, yuv420p10le"):
        Encoder(info("yuv420p"), options)


def test_a_misspelt_format_is_refused_with_the_closest_one() -> None:
    with pytest.raises(OptionError, match="knows no 'yuv42p'; did you mean 'yuv422p'"):
        Encoder(info("yuv420p"), EncodeOptions(pixel_format="yuv42p"))


def test_the_tags_of_the_source_are_written() -> None:
    context = opened(Encoder(info("yuv420p", colour=Colour(9, 1, 9, 16)), EncodeOptions()))
    tags = (context.colorspace, context.color_range, context.color_primaries, context.color_trc)
    assert tags == (9, 1, 9, 16)


def test_reserved_tags_are_left_out() -> None:
    context = opened(Encoder(info("yuv420p", colour=Colour(3, 1, 0, 3)), EncodeOptions()))
    assert (context.colorspace, context.color_primaries, context.color_trc) == (2, 2, 2)


def test_video_made_of_rgb_is_tagged_with_the_matrix_it_was_made_by() -> None:
    sources = [info("gbrp"), info("gbrp", size=(1280, 720)), info("gbrp", size=(1920, 544))]
    found = [opened(Encoder(each, EncodeOptions())).colorspace for each in sources]
    assert found == [6, 1, 1]


def test_full_range_under_another_name_is_tagged() -> None:
    encoder = Encoder(info("yuvj420p"), EncodeOptions(codec="ffv1"))
    assert opened(encoder).color_range == 2


def test_ffmpegs_log_is_silent_again_after_opening() -> None:
    opened(Encoder(info("yuv420p"), EncodeOptions()))
    assert av.logging.get_level() is None


def test_the_encoder_keeps_the_sources_clock() -> None:
    source = replace(info("yuv420p"), time_base=Fraction(1, 90_000))
    assert opened(Encoder(source, EncodeOptions())).time_base == Fraction(1, 90_000)


@pytest.mark.parametrize(("codec", "crf"), [("libx264", 52), ("libsvtav1", 64), ("libx265", -1)])
def test_a_quality_off_the_scale_is_refused(codec: str, crf: float) -> None:
    with pytest.raises(OptionError, match=f"crf: {codec} takes 0"):
        resolve_options(find_codec(codec), EncodeOptions(codec=codec, crf=crf))


@pytest.mark.parametrize(("codec", "name"), [("mjpeg", "yuvj420p"), ("libwebp", "yuv420p")])
def test_jpeg_and_webp_are_bt601_whatever_the_source(codec: str, name: str) -> None:
    encoder = Encoder(info(name, colour=Colour(1, 0, 1, 1)), EncodeOptions(), codec=codec)
    assert opened(encoder).colorspace == 5
    assert encoder.warnings == [f"{codec} gets {name}, colours coded as BT.601"]


@pytest.mark.parametrize("matrix", [5, 6])
def test_what_is_bt601_already_goes_into_a_jpeg_bit_by_bit(matrix: int) -> None:
    colour = Colour(matrix, 2, 2, 2)
    encoder = Encoder(info("yuvj420p", colour=colour), EncodeOptions(), codec="mjpeg")
    planes = extract_planes(noise(1, "yuvj420p", (64, 48)), PixelFormat.parse("yuvj420p"))
    prepared = encoder.prepare(Frame(planes, PixelFormat.parse("yuvj420p"), 0))
    after = extract_planes(prepared, PixelFormat.parse("yuvj420p"))
    assert [plane.tobytes() for plane in after] == [plane.tobytes() for plane in planes]


@pytest.mark.parametrize(
    ("codec", "rate", "kept"),
    [
        ("libx264", "1000/7", "1000/7"),
        ("mpeg2video", "2997/100", "30000/1001"),
        ("mpeg2video", "46", "48"),
        ("mpeg2video", "1000", "240"),
    ],
)
def test_a_rate_is_one_that_the_encoder_knows(codec: str, rate: str, kept: str) -> None:
    encoder = Encoder(info("yuv420p"), EncodeOptions(codec=codec))
    assert encoder.keep_rate(Fraction(rate)) == Fraction(kept)


def test_a_clock_too_fine_for_mpeg4_is_known() -> None:
    fine = replace(info("yuv420p"), time_base=Fraction(1, 90_000))
    assert Encoder(fine, EncodeOptions(codec="mpeg4")).needs_rate
    assert not Encoder(info("yuv420p"), EncodeOptions(codec="mpeg4")).needs_rate


def test_with_frames_in_flight_ffmpegs_log_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(av.logging, "Capture", lambda: pytest.fail("captured"))
    encoder = Encoder(info("yuv420p"), EncodeOptions())
    context = av.CodecContext.create(encoder.codec, "w")
    assert isinstance(context, VideoCodecContext)
    encoder.configure(context, rate=Fraction(25), frames_in_flight=True)
