"""Audio, subtitles, attachments, chapters and tags: copied, or named in a warning."""

from contextlib import closing
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import pytest
from av.stream import Disposition

from lfdn_video.input.reader import Reader
from lfdn_video.options import EncodeOptions, SpanOptions
from lfdn_video.output.passthrough import Passthrough
from tests.output.test_writer import FAST, LOSSLESS, copy
from tests.support.clips import Clip, delayed, joined, packets, times, with_cover

RICH = Clip(
    codec="libx264",
    audio="aac",
    subtitles=True,
    chapters=True,
    attachment=True,
    pts=range(15),
    metadata={"title": "Regen", "comment": "nass, größtenteils", "location": "+48.0+011.0/"},
)


def rich(tmp_path: Path, ending: str = "mkv") -> Path:
    return RICH.make(tmp_path / f"in.{ending}")


@pytest.mark.parametrize("codec", ["aac", "pcm_s16le", "libopus", "flac", "mp2"])
def test_audio_is_copied_byte_by_byte(tmp_path: Path, codec: str) -> None:
    source, target = Clip(audio=codec).make(tmp_path / "in.mkv"), tmp_path / "out.mkv"
    copy(source, target)
    assert packets(target, "audio") == packets(source, "audio")
    assert len(packets(target, "audio")) == 2


@pytest.mark.parametrize("ending", ["mp4", "mov"])
def test_audio_keeps_its_times_in_mp4(tmp_path: Path, ending: str) -> None:
    source = Clip(codec="libx264", audio="aac", pts=range(40)).make(tmp_path / "in.mp4")
    target = tmp_path / f"out.{ending}"
    copy(source, target, FAST)
    assert packets(target, "audio") == packets(source, "audio")


@pytest.mark.parametrize("ending", ["mkv", "mp4", "mov"])
def test_audio_that_starts_before_zero_does_not_move_the_video(tmp_path: Path, ending: str) -> None:
    source = Clip(codec="libx264", audio="aac").make(tmp_path / "in.mp4")
    copy(source, tmp_path / f"out.{ending}", FAST)
    first = packets(tmp_path / f"out.{ending}", "audio")[0][0][0]
    assert first == pytest.approx(packets(source, "audio")[0][0][0], abs=0.001)
    assert Reader(tmp_path / f"out.{ending}").info.start_pts == 0


def test_subtitles_are_copied_byte_by_byte(tmp_path: Path) -> None:
    source, target = rich(tmp_path), tmp_path / "out.mkv"
    copy(source, target)
    assert packets(target, "subtitle") == packets(source, "subtitle")
    assert len(packets(target, "subtitle")[0]) == 2


def test_matroska_keeps_everything_without_a_warning(tmp_path: Path) -> None:
    source, target = rich(tmp_path), tmp_path / "out.mkv"
    assert copy(source, target, FAST) == []
    with av.open(str(source)) as before, av.open(str(target)) as after:
        assert after.chapters() == before.chapters()
        kept = {"title", "COMMENT", "LOCATION"}
        assert {key: after.metadata[key] for key in kept} == {
            key: before.metadata[key] for key in kept
        }
        for old, new in zip(before.streams, after.streams, strict=True):
            assert (new.type, new.language, new.disposition) == (
                old.type,
                old.language,
                old.disposition,
            )


def test_attachment_is_copied(tmp_path: Path) -> None:
    copy(rich(tmp_path), tmp_path / "out.mkv")
    with av.open(str(tmp_path / "out.mkv")) as after:
        (attachment,) = after.streams.attachments
        assert (attachment.name, attachment.mimetype) == ("font.ttf", "font/ttf")
        assert attachment.data == b"not really a font" * 9


def test_attachment_that_mp4_cannot_hold_is_warned_of(tmp_path: Path) -> None:
    warnings = copy(rich(tmp_path), tmp_path / "out.mp4", FAST)
    assert any(
        "attachment stream 4 (font/ttf, font.ttf) is left out, mp4 cannot hold it" in warning
        for warning in warnings
    )


def test_text_subtitles_are_reencoded_for_mp4_with_a_warning(tmp_path: Path) -> None:
    warnings = copy(rich(tmp_path), tmp_path / "out.mp4", FAST)
    assert any("subtitle stream 3 (ass, deu, Untertitel) becomes mov_text" in w for w in warnings)
    texts = [content for _, content in packets(tmp_path / "out.mp4", "subtitle")[0]]
    assert b"\x00\x04Rain" in texts


def test_audio_that_webm_cannot_hold_is_transcoded(tmp_path: Path) -> None:
    warnings = copy(rich(tmp_path), tmp_path / "out.webm", EncodeOptions(codec="libvpx-vp9"))
    assert any("audio stream 2 (aac, eng, Ton eng) becomes opus" in warning for warning in warnings)


def test_tag_that_mp4_cannot_hold_is_warned_of(tmp_path: Path) -> None:
    clip = Clip(codec="libx264", metadata={"dashcam": "x"}).make(tmp_path / "in.mkv")
    warnings = copy(clip, tmp_path / "out.mp4", FAST)
    assert warnings == [f"{tmp_path}/out.mp4: the tag DASHCAM is lost"]


def test_stream_titles_are_kept_in_mp4(tmp_path: Path) -> None:
    source = Clip(codec="libx264", audio="aac").make(tmp_path / "in.mp4")
    assert copy(source, tmp_path / "out.mp4", FAST) == []
    titles = [stream.title for stream in Reader(tmp_path / "out.mp4").info.streams]
    assert titles == [None, "Ton deu", "Ton eng"]


def test_chapters_are_kept_in_mp4(tmp_path: Path) -> None:
    copy(rich(tmp_path), tmp_path / "out.mp4", FAST)
    chapters = Reader(tmp_path / "out.mp4").info.chapters
    assert [(chapter.start_s, chapter.title) for chapter in chapters] == [
        (0, "Start"),
        (Fraction(1, 5), "Ende"),
    ]


def test_chapter_track_of_an_mp4_is_not_copied_as_data(tmp_path: Path) -> None:
    source = Clip(codec="libx264", chapters=True).make(tmp_path / "in.mp4")
    assert copy(source, tmp_path / "out.mkv", FAST) == []


def test_dispositions_of_streams_are_kept(tmp_path: Path) -> None:
    copy(rich(tmp_path), tmp_path / "out.mkv")
    with av.open(str(tmp_path / "out.mkv")) as after:
        marks = [stream.disposition for stream in after.streams]
    assert marks[1:4] == [Disposition.default, Disposition.hearing_impaired, Disposition.forced]


def test_second_video_stream_is_copied_with_a_warning(tmp_path: Path) -> None:
    two = tmp_path / "two.mkv"
    with av.open(str(Clip().make(tmp_path / "in.mkv"))) as one, av.open(str(two), "w") as both:
        original = one.streams.video[0]
        copies = [both.add_stream_from_template(original, opaque=True) for _ in range(2)]
        for packet in [packet for packet in one.demux(original) if packet.size]:
            for stream in copies:
                packet.stream = stream
                both.mux(packet)
    warnings = copy(two, tmp_path / "out.mkv")
    assert any("video stream 1 (ffv1) is copied as it is" in warning for warning in warnings)
    assert packets(tmp_path / "out.mkv", "video")[1] == packets(two, "video")[1]


def recordings(tmp_path: Path, *counts: int) -> list[Path]:
    return [
        Clip(codec="libx264", audio="mp2", pts=range(count), options={"bf": "2"}).make(
            tmp_path / f"part{number}.ts"
        )
        for number, count in enumerate(counts)
    ]


def lead_s(path: Path) -> Fraction:
    """Measure how much later than the first frame the first audio packet comes, in seconds."""
    return packets(path, "audio")[0][0][0] - times(path)[0]


@pytest.mark.parametrize("ending", ["mp4", "mkv", "ts"])
@pytest.mark.parametrize("counts", [(60, 20), (20, 60), (30, 25, 40)])
def test_audio_stays_with_the_video_over_discontinuities(
    tmp_path: Path, ending: str, counts: tuple[int, ...]
) -> None:
    parts, target = recordings(tmp_path, *counts), tmp_path / f"out.{ending}"
    warnings = copy(joined(tmp_path / "in.ts", *parts), target, FAST)
    assert any("the source's timestamps jump back after" in warning for warning in warnings)
    shown, first, heard = times(target), 0, 0
    for part, count in zip(parts, counts, strict=True):
        begun = packets(target, "audio")[0][heard][0] - shown[first]
        assert float(begun) == pytest.approx(float(lead_s(part)), abs=0.002)
        first, heard = first + count, heard + len(packets(part, "audio")[0])
    assert (len(shown), len(packets(target, "audio")[1])) == (first, heard)


@pytest.mark.parametrize("counts", [(60, 20, 40), (60, 60), (20, 60)])
def test_span_of_joined_recordings_keeps_audio_with_the_video(
    tmp_path: Path, counts: tuple[int, ...]
) -> None:
    source = joined(tmp_path / "in.ts", *recordings(tmp_path, *counts))
    copy(source, tmp_path / "out.mkv", FAST, SpanOptions(start_s=1))
    shown = times(tmp_path / "out.mkv")
    heard = [time for time, _ in packets(tmp_path / "out.mkv", "audio")[0]]
    assert len(shown) == sum(counts) - 25 - (20 if counts[0] == 20 else 0)
    assert float(heard[0]) == pytest.approx(0, abs=0.05)
    assert float(heard[-1]) == pytest.approx(float(shown[-1]), abs=0.1)


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
def test_audio_that_overlaps_at_a_discontinuity_is_put_in_order(
    tmp_path: Path, ending: str
) -> None:
    clip, target = Clip(codec="libx264", audio="mp2", pts=range(30)), tmp_path / f"out.{ending}"
    longer = replace(clip, audio_s=1.6).make(tmp_path / "longer.ts")
    copy(joined(tmp_path / "in.ts", longer, clip.make(tmp_path / "clip.ts")), target, FAST)
    (heard, _), (last, _) = packets(target, "audio"), packets(tmp_path / "clip.ts", "audio")
    assert [time for time, _ in heard] == sorted(time for time, _ in heard)
    assert len(heard) == len(last) + len(packets(longer, "audio")[0])
    ends = [
        found[-1][0] - times(path)[-1]
        for found, path in zip((heard, last), (target, tmp_path / "clip.ts"), strict=True)
    ]
    assert float(ends[0]) == pytest.approx(float(ends[1]), abs=0.002)


def test_recording_on_the_wall_clock_keeps_its_audio(tmp_path: Path) -> None:
    clip = Clip(codec="libx264", audio="aac").make(tmp_path / "in.mkv")
    source = delayed(clip, tmp_path / "wall.mkv", 1_700_000_000)
    copy(source, tmp_path / "out.mkv", FAST)
    assert packets(tmp_path / "out.mkv", "audio") == packets(source, "audio")
    assert len(packets(source, "audio")[0]) > 10


def test_span_without_an_end_keeps_all_following_chapters(tmp_path: Path) -> None:
    others = Passthrough(Reader(rich(tmp_path)).info, SpanOptions())
    with closing(others), av.open(str(tmp_path / "out.mkv"), "w") as target:
        others.add_chapters(target, Fraction(1, 5), None)
        assert [chapter["metadata"]["title"] for chapter in target.chapters()] == ["Ende"]


def test_lost_packets_are_reported(tmp_path: Path) -> None:
    source, path = Clip(codec="libx264", audio="aac").make(tmp_path / "in.mp4"), tmp_path / "o.mp4"
    others = Passthrough(Reader(source).info, SpanOptions())
    with closing(others):
        with av.open(str(path), "w") as target:
            others.add_streams(target, lambda container: container.add_stream("libx264", 25))
            others.set_span(origin_s=Fraction(0), end_s=None, trim=False)
            for number, packet in enumerate(others.remaining_packets()):
                if number >= 6:
                    target.mux(packet)
        lost = [note for note in others.find_losses(path) if "packets are lost" in note]
    total = len(packets(source, "audio")[0])
    assert lost[0] == f"audio stream 1 (aac, deu, Ton deu): 3 of {total} packets are lost"


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
def test_cover_stays_a_cover(tmp_path: Path, ending: str) -> None:
    source = with_cover(Clip(codec="libx264").make(tmp_path / "in.mp4"), tmp_path / "cover.mp4")
    assert copy(source, tmp_path / f"out.{ending}", FAST) == []
    with av.open(str(tmp_path / f"out.{ending}")) as after:
        assert after.streams[1].disposition == Disposition.attached_pic
    assert packets(tmp_path / f"out.{ending}", "video")[1] == packets(source, "video")[1]


def test_lost_hdr_metadata_is_warned_of(tmp_path: Path) -> None:
    parameters = "log-level=error:max-cll=1000,400"
    options = {"x265-params": parameters, "preset": "ultrafast"}
    clip = Clip(codec="libx265", pixel_format="yuv420p10le", options=options)
    source = clip.make(tmp_path / "in.mp4")
    assert copy(source, tmp_path / "out.mkv") == [
        f"{tmp_path}/out.mkv: HDR light level is left out"
    ]


def test_tags_that_are_not_utf8_are_kept(tmp_path: Path) -> None:
    source = Clip(codec="libx264", metadata={"title": "AAAA"}).make(tmp_path / "in.mkv")
    source.write_bytes(source.read_bytes().replace(b"AAAA", b"R\xe9\xe9l"))
    copy(source, tmp_path / "out.mkv", FAST)
    assert b"R\xe9\xe9l" in (tmp_path / "out.mkv").read_bytes()


def test_span_trims_subtitles_and_chapters(tmp_path: Path) -> None:
    copy(rich(tmp_path), tmp_path / "out.mkv", LOSSLESS, SpanOptions(start_s=0.2, end_s=0.44))
    (shown,) = packets(tmp_path / "out.mkv", "subtitle")
    assert [time for time, _ in shown] == [Fraction(0), Fraction(1, 10)]
    assert [text[-4:] for _, text in shown] == [b"Rain", b"rain"]
    assert [chapter.title for chapter in Reader(tmp_path / "out.mkv").info.chapters] == ["Ende"]
