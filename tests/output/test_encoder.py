"""Encoders and their options: what cannot work is refused before the first frame."""

import os
import sys
from fractions import Fraction
from pathlib import Path

import av
import pytest
from av.video.codeccontext import VideoCodecContext

from lfdn_video.errors import OptionError
from lfdn_video.media import Colour, Frame, FrameFormat, PixelFormat
from lfdn_video.options import EncodeOptions
from lfdn_video.output.encoder import Encoder, find_codec, list_encoders, try_encoder
from lfdn_video.planes import extract_planes
from tests.support.clips import noise

TIME_BASE = Fraction(1, 25)


def frame_format(
    name: str, *, size: tuple[int, int] = (64, 48), colour: Colour | None = None
) -> FrameFormat:
    width, height = size
    return FrameFormat(
        width=width, height=height, format=PixelFormat.parse(name), colour=colour or Colour()
    )


def make_encoder(
    frames: FrameFormat,
    options: EncodeOptions | None = None,
    *,
    codec: str | None = None,
    time_base: Fraction = TIME_BASE,
) -> Encoder:
    return Encoder(frames, options or EncodeOptions(), time_base=time_base, codec=codec)


def open_context(encoder: Encoder) -> VideoCodecContext:
    context = av.CodecContext.create(encoder.codec, "w")
    assert isinstance(context, VideoCodecContext)
    encoder.configure(context, rate=Fraction(25))
    return context


def test_unknown_codec_is_refused_with_the_closest_name() -> None:
    with pytest.raises(OptionError, match=r"'libx246' is no encoder .* did you mean 'libx26"):
        find_codec("libx246")


def test_audio_codec_is_refused() -> None:
    with pytest.raises(OptionError, match="'aac' encodes audio, not video"):
        find_codec("aac")


@pytest.mark.parametrize(("option", "value"), [("preset", "swift"), ("crf", "low")])
def test_wrong_option_value_is_reported_in_ffmpegs_words(option: str, value: str) -> None:
    encoder = make_encoder(frame_format("yuv420p"), EncodeOptions(codec_options={option: value}))
    with pytest.raises(OptionError, match=f"Error setting .*{value}"):
        open_context(encoder)


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
def test_closest_pixel_format_is_chosen(codec: str, source: str, chosen: str) -> None:
    encoder = make_encoder(frame_format(source, size=(256, 128)), EncodeOptions(codec=codec))
    assert open_context(encoder).pix_fmt == chosen


def test_odd_size_gets_444_in_h264() -> None:
    encoder = make_encoder(frame_format("yuv420p", size=(63, 47)))
    assert open_context(encoder).pix_fmt == "yuv444p"
    assert encoder.warnings == ["frames are converted from yuv420p to yuv444p for libx264"]


def test_pixel_format_change_is_warned_of_with_its_loss() -> None:
    encoder = make_encoder(frame_format("yuva420p"))
    assert encoder.warnings == [
        "frames are converted from yuva420p to yuv420p for libx264, losing transparency"
    ]


@pytest.mark.parametrize(("codec", "source"), [("ffv1", "gbrp"), ("libsvtav1", "yuvj420p")])
def test_repacked_samples_need_no_warning(codec: str, source: str) -> None:
    assert make_encoder(frame_format(source), EncodeOptions(codec=codec)).warnings == []


def test_unsupported_pixel_format_is_refused_with_the_supported_ones() -> None:
    options = EncodeOptions(codec="libsvtav1", pixel_format="yuv444p")
    with pytest.raises(OptionError, match="does not support yuv444p, only yuv420p, yuv420p10le"):
        make_encoder(frame_format("yuv420p"), options)


def test_misspelt_pixel_format_is_refused_with_the_closest_name() -> None:
    with pytest.raises(OptionError, match="knows no 'yuv42p'; did you mean 'yuv422p'"):
        make_encoder(frame_format("yuv420p"), EncodeOptions(pixel_format="yuv42p"))


def test_colour_tags_of_the_source_are_written() -> None:
    context = open_context(make_encoder(frame_format("yuv420p", colour=Colour(9, 1, 9, 16))))
    tags = (context.colorspace, context.color_range, context.color_primaries, context.color_trc)
    assert tags == (9, 1, 9, 16)


def test_reserved_colour_tags_are_left_out() -> None:
    context = open_context(make_encoder(frame_format("yuv420p", colour=Colour(3, 1, 0, 3))))
    assert (context.colorspace, context.color_primaries, context.color_trc) == (2, 2, 2)


def test_video_made_of_rgb_is_tagged_with_the_matrix_used() -> None:
    sources = [
        frame_format("gbrp"),
        frame_format("gbrp", size=(1280, 720)),
        frame_format("gbrp", size=(1920, 544)),
    ]
    found = [open_context(make_encoder(each)).colorspace for each in sources]
    assert found == [6, 1, 1]


def test_yuvj_source_is_tagged_full_range() -> None:
    encoder = make_encoder(frame_format("yuvj420p"), EncodeOptions(codec="ffv1"))
    assert open_context(encoder).color_range == 2


def test_ffmpeg_log_is_silent_again_after_opening() -> None:
    open_context(make_encoder(frame_format("yuv420p")))
    assert av.logging.get_level() is None


def test_encoder_keeps_the_source_time_base() -> None:
    encoder = make_encoder(frame_format("yuv420p"), time_base=Fraction(1, 90_000))
    assert open_context(encoder).time_base == Fraction(1, 90_000)


@pytest.mark.parametrize(("codec", "name"), [("mjpeg", "yuvj420p"), ("libwebp", "yuv420p")])
def test_jpeg_and_webp_are_always_bt601(codec: str, name: str) -> None:
    encoder = make_encoder(frame_format(name, colour=Colour(1, 0, 1, 1)), codec=codec)
    assert open_context(encoder).colorspace == 5
    assert encoder.warnings == [f"frames are converted to the BT.601 matrix in {name} for {codec}"]


@pytest.mark.parametrize("matrix", [5, 6])
def test_bt601_planes_go_into_a_jpeg_unchanged(matrix: int) -> None:
    colour = Colour(matrix, 2, 2, 2)
    encoder = make_encoder(frame_format("yuvj420p", colour=colour), codec="mjpeg")
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
def test_constant_rate_is_one_that_the_encoder_supports(codec: str, rate: str, kept: str) -> None:
    encoder = make_encoder(frame_format("yuv420p"), EncodeOptions(codec=codec))
    assert encoder.keep_rate(Fraction(rate)) == Fraction(kept)


def test_time_base_too_fine_for_mpeg4_needs_a_rate() -> None:
    frames = frame_format("yuv420p")
    assert make_encoder(frames, codec="mpeg4", time_base=Fraction(1, 90_000)).needs_rate
    assert not make_encoder(frames, codec="mpeg4", time_base=TIME_BASE).needs_rate


def test_ffmpeg_log_is_not_captured_with_frames_in_flight(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(av.logging, "Capture", lambda: pytest.fail("captured"))
    encoder = make_encoder(frame_format("yuv420p"))
    context = av.CodecContext.create(encoder.codec, "w")
    assert isinstance(context, VideoCodecContext)
    encoder.configure(context, rate=Fraction(25), frames_in_flight=True)


def test_decoder_is_not_suggested_as_an_encoder() -> None:
    with pytest.raises(OptionError) as refused:
        find_codec("h264_nvdec")
    suggested = str(refused.value).rpartition("did you mean ")[2].strip("'?")
    assert suggested in list_encoders()


@pytest.mark.parametrize("name", list_encoders())
def test_every_encoder_opens_or_says_why_not(name: str) -> None:
    """Those of hardware fail in their driver's words, with a next step, and raise nothing else."""
    problem = try_encoder(name)
    assert problem is None or problem.startswith((f"{name}: ", "codec: "))


@pytest.mark.parametrize("kind", ["nvenc", "qsv", "amf", "v4l2m2m", "videotoolbox"])
def test_hardware_encoder_chooses_a_format_in_memory(kind: str) -> None:
    names = [name for name in list_encoders() if name.endswith(kind)]
    for name in names:
        encoder = make_encoder(frame_format("yuv420p", size=(256, 256)), codec=name)
        assert av.VideoFormat(encoder._target.name).components, name


@pytest.mark.skipif(sys.platform != "linux", reason="schedulers are Linux's")
@pytest.mark.parametrize("codec", ["libsvtav1", "libx264", "libx265", "libvpx-vp9"])
def test_no_thread_is_real_time_after_opening_an_encoder(codec: str) -> None:
    """SVT-AV1 makes threads so when root runs it, the one that opens it too."""
    context = open_context(make_encoder(frame_format("yuv420p", size=(96, 64)), codec=codec))
    threads = [int(path.name) for path in Path("/proc/self/task").iterdir()]
    assert {os.sched_getscheduler(thread) for thread in threads} == {os.SCHED_OTHER}
    del context
