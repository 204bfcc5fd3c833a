"""The video writer: frames and times are kept exactly, or no target is left."""

from __future__ import annotations

import resource
import signal
from collections.abc import Generator, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import pytest

from lfdn_video.errors import OptionError, OutputError
from lfdn_video.input.reader import Reader
from lfdn_video.media import Colour, VideoInfo
from lfdn_video.options import CODEC_DEFAULTS, EncodeOptions, SpanOptions
from lfdn_video.output import audit
from lfdn_video.output.passthrough import Passthrough
from lfdn_video.output.writer import Writer
from tests.support.clips import Clip, packets, planes, times, wall_clock

LOSSLESS = EncodeOptions(codec="ffv1")
LOSSLESS_H264 = EncodeOptions(crf=0, preset="ultrafast")
FAST = EncodeOptions(preset="ultrafast")
AVI = EncodeOptions()


COMMON = [
    ("libx264", "mp4"),
    ("libx264rgb", "mp4"),
    ("libx265", "mp4"),
    ("libsvtav1", "mp4"),
    ("libvpx-vp9", "webm"),
    ("libvpx", "webm"),
    ("ffv1", "mkv"),
    ("prores_ks", "mov"),
    ("mjpeg", "mkv"),
    ("mpeg4", "mp4"),
    ("mpeg4", "avi"),
    ("mpeg2video", "mp4"),
    ("mpeg2video", "mkv"),
    ("mpeg2video", "ts"),
]
VARIABLE_RATE = Path(__file__).parents[2] / "samples" / "variable_rate.mp4"


def copy(
    source: Path, target: Path, options: EncodeOptions = LOSSLESS, span: SpanOptions | None = None
) -> list[str]:
    """Copy every frame from a reader to a writer; return the writer's warnings."""
    with Reader(source, span) as reader, Writer(target, reader.info, options, span) as writer:
        for frame in reader.frames():
            writer.write(frame)
    return writer.warnings


def described(path: Path) -> VideoInfo:
    return Reader(path).info


@pytest.mark.parametrize(
    ("codec", "name"),
    [
        ("ffv1", "yuv420p"),
        ("mjpeg", "yuvj420p"),
        ("ffv1", "yuv422p10le"),
        ("ffv1", "yuv444p"),
        ("ffv1", "gray"),
        ("ffv1", "bgr0"),  # as FFV1 stores gbrp
        ("ffv1", "gbrp10le"),
        ("ffv1", "yuva420p"),
        ("ffv1", "gray16le"),
        ("ffv1", "ya8"),
        ("rawvideo", "nv12"),
    ],
)
@pytest.mark.parametrize("size", [(64, 48), (63, 47)])
def test_untouched_planes_are_bit_identical(
    tmp_path: Path, codec: str, name: str, size: tuple[int, int]
) -> None:
    ending = "mkv" if codec != "rawvideo" else "nut"
    clip = Clip(codec=codec, pixel_format=name, size=size)
    source, target = clip.make(tmp_path / f"in.{ending}"), tmp_path / "out.mkv"
    warnings = copy(source, target)
    if name == "nv12":
        with Reader(source) as before, Reader(target) as after:
            pairs = zip(before.frames(), after.frames(), strict=True)
            assert all(
                a.tobytes() == b.tobytes()
                for first, second in pairs
                for a, b in zip(first.planes, second.planes, strict=True)
            )
    else:
        assert planes(target) == planes(source)
    assert times(target) == times(source)
    assert warnings == []


@pytest.mark.parametrize("before", ["mkv", "mp4", "mov"])
@pytest.mark.parametrize("after", ["mkv", "mp4", "mov"])
@pytest.mark.parametrize(
    "pts", [range(20), range(30, 50), (0, 30, 40, 100, 110, 300, 310, 330, 700, 710)]
)
def test_every_pts_is_kept(
    tmp_path: Path, before: str, after: str, pts: tuple[int, ...] | range
) -> None:
    base = Fraction(1, 25) if isinstance(pts, range) else Fraction(1, 1000)
    clip = Clip(codec="libx264", audio="aac", pts=pts, time_base=base, options={"bf": "3"})
    source, target = clip.make(tmp_path / f"in.{before}"), tmp_path / f"out.{after}"
    copy(source, target, LOSSLESS_H264)
    assert times(target) == times(source)
    assert planes(target) == planes(source)


@pytest.mark.parametrize("base", ["1/90000", "1001/30000", "1001/24000", "1/48", "1/1000000"])
def test_mp4_keeps_the_source_time_base(tmp_path: Path, base: str) -> None:
    clip = Clip(codec="libx264", pts=range(0, 70, 7), time_base=Fraction(base))
    source, target = clip.make(tmp_path / "in.mp4"), tmp_path / "out.mp4"
    copy(source, target, FAST)
    assert times(target) == times(source)


def test_frames_too_close_for_matroska_are_warned_of(tmp_path: Path) -> None:
    clip = Clip(codec="libx264", time_base=Fraction(1, 90_000)).make(tmp_path / "in.mp4")
    assert "closer together than its time base can express" in copy(clip, tmp_path / "out.mkv")[0]


def test_rounded_timestamps_are_warned_of_once(tmp_path: Path) -> None:
    clip = Clip(codec="libx264", pts=range(0, 9 * 3000, 3000), time_base=Fraction(1, 90_000))
    source, target = clip.make(tmp_path / "in.mp4"), tmp_path / "out.mkv"
    note = "timestamps are rounded to 1/1000 s by matroska; .mp4 keeps them exactly"
    assert copy(source, target, FAST) == [f"{target}: {note}"]
    assert copy(source, tmp_path / "out.mp4", FAST) == []


@pytest.mark.parametrize(
    ("pts", "base"), [((0, 10, 40, 80), "1/1000"), ((0, 1, 2, 3, 4, 5, 90, 91), "1/600")]
)
@pytest.mark.parametrize(("ending", "codec"), [("avi", "libx264"), ("mkv", "mpeg2video")])
def test_frames_closer_than_a_constant_rate_get_consecutive_ticks(
    tmp_path: Path, pts: tuple[int, ...], base: str, ending: str, codec: str
) -> None:
    clip = Clip(codec="libx264", pts=pts, time_base=Fraction(base)).make(tmp_path / "in.mp4")
    target = tmp_path / f"out.{ending}"
    assert "has a constant rate" in copy(clip, target, EncodeOptions(codec=codec))[0]
    shown = times(target)
    assert len(shown) == len(pts)
    assert shown == sorted(set(shown))


@pytest.mark.parametrize("ending", ["avi", "flv", "mkv", "mov", "mpg", "nut", "ts", "wmv"])
def test_variable_rate_is_kept_or_its_change_is_warned_of(tmp_path: Path, ending: str) -> None:
    options = AVI if ending in ("avi", "mpg") else FAST
    warnings = copy(VARIABLE_RATE, tmp_path / f"out.{ending}", options)
    before, after = times(VARIABLE_RATE), times(tmp_path / f"out.{ending}")
    moves = {now - was for now, was in zip(after, before, strict=True)}
    named = any("constant rate" in note or "are rounded" in note for note in warnings)
    assert named == (len(moves) > 1)  # all may start a little later, for the audio


def test_high_rate_does_not_become_slow_motion_in_avi(tmp_path: Path) -> None:
    clip = Clip(codec="libx264", pts=range(200), time_base=Fraction(1, 300))
    source, target = clip.make(tmp_path / "in.mp4"), tmp_path / "out.avi"
    copy(source, target, AVI)
    assert times(target)[-1] == pytest.approx(times(source)[-1], rel=0.1)


def test_frame_duration_is_in_the_encoder_time_base(tmp_path: Path) -> None:
    clip = Clip(codec="libx264", pts=range(0, 36_000, 3600), time_base=Fraction(1, 90_000))
    writer = Writer(
        tmp_path / "out.mkv",
        described(clip.make(tmp_path / "in.mp4")),
        EncodeOptions(codec="mpeg2video"),
    )
    with pytest.raises(OutputError, match="no frame"), writer:
        assert writer._times.to_encoder_ticks(7200) == 2


def test_constant_rate_container_warns_that_frames_are_moved(tmp_path: Path) -> None:
    even = Clip(codec="libx264").make(tmp_path / "even.mp4")
    assert copy(even, tmp_path / "even.avi", AVI) == []
    uneven = Clip(codec="libx264", pts=(0, 3, 4, 10)).make(tmp_path / "uneven.mp4")
    assert "has a constant rate" in copy(uneven, tmp_path / "uneven.avi", AVI)[0]
    assert len(times(tmp_path / "uneven.avi")) == 4


def test_duration_of_the_last_frame_is_kept(tmp_path: Path) -> None:
    clip = Clip(pts=(0, 1, 2, 10)).make(tmp_path / "in.mkv")
    copy(clip, tmp_path / "out.mp4", FAST)
    assert described(tmp_path / "out.mp4").duration_s == pytest.approx(11 / 25)


@pytest.mark.parametrize("ending", ["mkv", "mp4"])
@pytest.mark.parametrize("flip", [False, True])
def test_rotation_and_flip_are_kept(tmp_path: Path, ending: str, flip: bool) -> None:
    clip = Clip(codec="libx264", rotation=90, flip=flip).make(tmp_path / f"in.{ending}")
    copy(clip, tmp_path / f"out.{ending}", FAST)
    after = described(tmp_path / f"out.{ending}")
    assert after.display_matrix == described(clip).display_matrix
    assert (after.rotation, after.flip) == (270, flip)


@pytest.mark.parametrize("codec", ["ffv1", "libx264", "libx265", "libsvtav1", "libvpx-vp9"])
def test_colour_tags_are_kept(tmp_path: Path, codec: str) -> None:
    clip = Clip(colour=(9, 1, 9, 16)).make(tmp_path / "in.mkv")
    copy(clip, tmp_path / "out.mkv", EncodeOptions(codec=codec))
    assert described(tmp_path / "out.mkv").colour == Colour(9, 1, 9, 16)


@pytest.mark.parametrize("ending", ["mkv", "mp4"])
def test_sample_aspect_ratio_is_kept(tmp_path: Path, ending: str) -> None:
    clip = Clip(codec="libx264", sample_aspect_ratio=Fraction(4, 3)).make(tmp_path / "in.mp4")
    copy(clip, tmp_path / f"out.{ending}", FAST)
    assert described(tmp_path / f"out.{ending}").sample_aspect_ratio == Fraction(4, 3)


def test_lost_sample_aspect_ratio_is_warned_of(tmp_path: Path) -> None:
    clip = Clip(codec="libx264", sample_aspect_ratio=Fraction(4, 3)).make(tmp_path / "in.mp4")
    warnings = copy(clip, tmp_path / "out.mkv", LOSSLESS)
    assert [warning for warning in warnings if "the sample aspect ratio 4/3 is lost" in warning]


def test_rgb_becomes_yuv_with_a_warning(tmp_path: Path) -> None:
    clip = Clip(pixel_format="bgr0").make(tmp_path / "in.mkv")
    warnings = copy(clip, tmp_path / "out.mp4", FAST)
    assert warnings == [
        f"{tmp_path}/out.mp4: frames are converted from gbrp to yuv444p for libx264, losing RGB"
    ]


@pytest.mark.parametrize(
    ("codec", "ending"),
    COMMON,
)
@pytest.mark.parametrize("base", ["1/1000", "1/90000", "1/12800"])
def test_common_codecs_keep_all_timestamps(
    tmp_path: Path, codec: str, ending: str, base: str
) -> None:
    time_base = Fraction(base)
    pts = [round(number / (25 * time_base)) for number in range(8)]
    clip = Clip(codec="libx264", size=(64, 46), pts=pts, time_base=time_base)
    source, target = clip.make(tmp_path / "in.mp4"), tmp_path / f"out.{ending}"
    copy(source, target, EncodeOptions(codec=codec))
    start = times(target)[0]
    assert [time - start for time in times(target)] == times(source)


def test_codecs_with_default_options_are_the_common_ones() -> None:
    video = {codec for codec in CODEC_DEFAULTS if not codec.endswith("_nvenc")}
    assert video - {"png", "tiff", "libwebp"} == {codec for codec, _ in COMMON}


@pytest.mark.parametrize(
    ("ending", "codec"),
    [("mp4", "h264"), ("mkv", "h264"), ("webm", "vp9"), ("ogv", "vp8"), ("ogg", "vp8")],
)
def test_default_codec_depends_on_the_container(tmp_path: Path, ending: str, codec: str) -> None:
    source, target = Clip().make(tmp_path / "in.mkv"), tmp_path / f"out.{ending}"
    copy(source, target, EncodeOptions())
    assert described(target).codec == codec
    assert times(target) == times(source)


def test_target_is_a_temporary_file_until_it_is_complete(tmp_path: Path) -> None:
    source, target = Clip().make(tmp_path / "in.mkv"), tmp_path / "out.mkv"
    with Reader(source) as reader, Writer(target, reader.info, LOSSLESS) as writer:
        for frame in reader.frames():
            writer.write(frame)
        names = sorted(file.name for file in tmp_path.iterdir())
        assert names[0].startswith(".out.partial-")
        assert names[1:] == ["in.mkv"]
    assert {file.name for file in tmp_path.iterdir()} == {"in.mkv", "out.mkv"}


@pytest.mark.parametrize("frames", [10, 600], ids=["short", "in segments"])
def test_second_run_to_the_same_target_is_refused_before_its_work(
    tmp_path: Path, frames: int
) -> None:
    source, target = Clip().make(tmp_path / "in.mkv"), tmp_path / "out.mkv"
    with Reader(source) as reader, Writer(target, reader.info, LOSSLESS) as writer:
        second = Writer(target, replace(reader.info, frame_count=frames), LOSSLESS)
        with pytest.raises(OutputError, match=r"out\.mkv: another run is writing it; wait for it"):
            second.open()
        for frame in reader.frames():
            writer.write(frame)
    assert planes(target) == planes(source)


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
@pytest.mark.parametrize("ending", ["mkv", "mp4"])
def test_interrupted_run_leaves_nothing(
    tmp_path: Path, ending: str, error: type[BaseException]
) -> None:
    source = Clip(codec="libx264", audio="aac", pts=range(99)).make(tmp_path / "in.mp4")
    target = tmp_path / f"out.{ending}"
    with pytest.raises(error):
        _copy_until(source, target, error)
    assert [file.name for file in tmp_path.iterdir()] == ["in.mp4"]


def _copy_until(source: Path, target: Path, error: type[BaseException]) -> None:
    with Reader(source) as reader, Writer(target, reader.info, FAST) as writer:
        for number, frame in enumerate(reader.frames()):
            writer.write(frame)
            if number == 80:
                raise error


@pytest.fixture
def _small_disk() -> Generator[None]:
    """Files may not grow beyond 100 kB in this process."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.usefixtures("_small_disk")
@pytest.mark.parametrize("ending", ["mkv", "mov"])
def test_full_disk_is_reported_in_ffmpegs_words_and_leaves_nothing(
    tmp_path: Path, ending: str
) -> None:
    source = Clip(codec="libx264", pts=range(40), options={"crf": "45"}).make(tmp_path / "in.mkv")
    with pytest.raises(OutputError, match="cannot be written: File too large"):
        copy(source, tmp_path / f"out.{ending}", EncodeOptions(codec="rawvideo"))
    assert [file.name for file in tmp_path.iterdir()] == ["in.mkv"]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("out.xyz", FAST, "FFmpeg has no video format for this extension"),
        ("out", FAST, "FFmpeg has no video format for this extension"),
        ("out.m3u8", FAST, "hls cannot hold a video with its times"),
        ("out.mpd", FAST, "dash cannot hold a video with its times"),
        ("out_%d.ppm", FAST, "image2 cannot hold a video with its times"),
        ("out.gif", FAST, "gif cannot hold a video with its times"),
        ("out.h264", FAST, "h264 cannot hold a video with its times"),
        ("no/out.mp4", FAST, "no does not exist"),
        ("in.mkv", EncodeOptions(overwrite=True), "is the source itself"),
    ],
)
def test_impossible_target_is_refused(
    tmp_path: Path, name: str, options: EncodeOptions, message: str
) -> None:
    source = Clip().make(tmp_path / "in.mkv")
    with pytest.raises(OutputError, match=message):
        copy(source, tmp_path / name, options)
    assert [file.name for file in tmp_path.iterdir()] == ["in.mkv"]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("out.mp4", EncodeOptions(codec="prores_ks"), "mp4 cannot hold prores_ks"),
        ("out.mp4", EncodeOptions(codec_options={"crf": "x"}), "Error setting option crf"),
        ("out.mp4", EncodeOptions(frame_rate=Fraction(30)), "keeps its own timestamps"),
        ("out.mp4", EncodeOptions(codec="h265"), "is no encoder"),
    ],
)
def test_impossible_options_are_refused_and_leave_nothing(
    tmp_path: Path, name: str, options: EncodeOptions, message: str
) -> None:
    source = Clip().make(tmp_path / "in.mkv")
    with pytest.raises(OptionError, match=message):
        copy(source, tmp_path / name, options)
    assert [file.name for file in tmp_path.iterdir()] == ["in.mkv"]


def test_existing_target_is_kept_without_overwrite(tmp_path: Path) -> None:
    source, target = Clip().make(tmp_path / "in.mkv"), tmp_path / "out.mkv"
    target.write_bytes(b"mine")
    with pytest.raises(OutputError, match="exists already"):
        copy(source, target)
    assert target.read_bytes() == b"mine"
    copy(source, target, EncodeOptions(codec="ffv1", overwrite=True))
    assert planes(target) == planes(source)


def test_target_without_frames_is_refused(tmp_path: Path) -> None:
    info = described(Clip().make(tmp_path / "in.mkv"))
    with (
        pytest.raises(OutputError, match="no frame to write"),
        Writer(tmp_path / "out.mkv", info, LOSSLESS),
    ):
        pass
    assert not (tmp_path / "out.mkv").exists()


def test_span_starts_at_zero_with_video_and_audio_in_sync(tmp_path: Path) -> None:
    clip = Clip(codec="libx264", audio="pcm_s16le", pts=range(75), options={"g": "10"})
    source, target = clip.make(tmp_path / "in.mkv"), tmp_path / "out.mkv"
    copy(source, target, LOSSLESS, SpanOptions(start_s=1, end_s=2))
    assert planes(target) == planes(source)[25:50]
    assert times(target)[0] == 0
    before = {content: time for time, content in packets(source, "audio")[0]}
    after = packets(target, "audio")[0]
    assert {before[content] - time for time, content in after} == {Fraction(1)}
    assert after[-1][0] <= 1


def test_wall_clock_timestamps_do_not_end_the_audio(tmp_path: Path) -> None:
    """Recorders count from 1970, which is more than 10**9 seconds ago."""
    now = 1_790_000_000
    source, target = tmp_path / "in.mkv", tmp_path / "out.mkv"
    wall_clock(Clip(codec="libx264", audio="pcm_s16le").make(tmp_path / "zero.mkv"), source, now)
    copy(source, target, FAST, SpanOptions(start_s=0.1))
    assert times(target)[0] == 0
    assert [len(track) > 3 for track in packets(target, "audio")] == [True, True]


def test_complete_file_that_cannot_be_checked_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreadable(others: Passthrough, path: Path) -> None:
        raise av.error.InvalidDataError(1, "broken", str(path))

    monkeypatch.setattr(Passthrough, "find_losses", unreadable)
    source, target = Clip().make(tmp_path / "in.mkv"), tmp_path / "out.mkv"
    assert "could not be checked" in copy(source, target)[0]
    assert planes(target) == planes(source)


@pytest.mark.parametrize(("codec", "ending"), COMMON)
def test_frame_lost_by_the_container_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, codec: str, ending: str
) -> None:
    check = audit.check_video

    def check_more(path: Path, index: int, written: audit.Written, target: Path) -> Iterator[str]:
        written.pts.append(written.pts[-1])  # as if one more had been muxed
        return check(path, index, written, target)

    monkeypatch.setattr("lfdn_video.output.muxer.check_video", check_more)
    source, target = Clip(pts=range(9)).make(tmp_path / "in.mkv"), tmp_path / f"out.{ending}"
    with pytest.raises(OutputError, match="only 9 of 10 frames"):
        copy(source, target, EncodeOptions(codec=codec))
    assert not target.exists()


@pytest.mark.parametrize("ending", ["mp4", "mov"])
def test_hevc_has_the_tag_of_apples_players(tmp_path: Path, ending: str) -> None:
    copy(
        Clip().make(tmp_path / "in.mkv"), tmp_path / f"out.{ending}", EncodeOptions(codec="libx265")
    )
    with av.open(tmp_path / f"out.{ending}") as container:
        assert container.streams.video[0].codec_context.codec_tag == "hvc1"


def test_tags_of_quicktime_are_kept(tmp_path: Path) -> None:
    tags = {"com.apple.quicktime.location.ISO6709": "+10.0000+020.0000/", "title": "Regen"}
    source = Clip(metadata=tags).make(tmp_path / "in.mkv")
    with av.open(source) as container:
        names = {tag.lower() for tag in container.metadata}
    assert {tag.lower() for tag in tags} <= names
    copy(source, tmp_path / "out.mov", FAST)
    with av.open(tmp_path / "out.mov") as container:
        kept = {tag.lower(): value for tag, value in container.metadata.items()}
    assert {tag.lower(): value for tag, value in tags.items()}.items() <= kept.items()
