"""What users of other tools reported, block by block (R1 to R21): exit code, the line, the result.

Each block has its closest siblings as parameters. The tables of `test_containers.py`,
`test_colours.py` and `test_verify_streams.py` go into breadth; R18 and R20 need processes and pipes
of their own.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from lfdn_video.cli import commands as cli
from lfdn_video.inference import engine
from tests.support.clips import Clip
from tests.support.fakes import identity_engine
from tests.support.ffmpeg_program import (
    TONE,
    VIDEO,
    codecs,
    decoded_audio,
    ffmpeg,
    frame_times,
    make,
    packet_times,
    probe,
)
from tests.support.programs import tiny_weights

pytestmark = pytest.mark.needs_ffmpeg

FRAMES = 20
SIZE = (96, 64)


@pytest.fixture(autouse=True)
def _identity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "load_engine", lambda *_, **__: identity_engine())


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(cli.main, [str(word) for word in words], prog_name="lfdn-video")


def derain(source: Path, target: Path, *words: str | Path) -> str:
    """Restore a file without an error; return what was said."""
    result = run("derain", source, "-o", target, *words)
    assert result.exit_code == 0, result.output
    return result.stderr


def verify(source: Path, target: Path) -> tuple[int, dict[str, str]]:
    """Return the exit code, and the state of each check by its name and text."""
    result = run("verify", source, target, "--json")
    checks = json.loads(result.stdout)["checks"]
    return result.exit_code, {f"{each['name']}: {each['text']}": each["state"] for each in checks}


def error_line(result: Result) -> str:
    """Return the only error line of a run that failed."""
    (line,) = [each for each in result.stderr.splitlines() if each.startswith("error: ")]
    assert result.exit_code == 1
    assert "Traceback" not in result.output
    return line


def image(red: int = 90) -> Image.Image:
    return Image.new("RGB", SIZE, (red, 80, 70))


R1 = {
    "flv": ("libx264", "aac"),
    "vob": ("mpeg2video", "ac3"),
    "mpg": ("mpeg1video", "mp2"),
    "swf": ("flv1", "mp3"),
}


@pytest.mark.parametrize("ending", R1)
def test_r1_demuxers_without_early_streams(tmp_path: Path, ending: str) -> None:
    video, audio = R1[ending]
    words = ("-c:v", video, "-c:a", audio, "-ar", "44100")
    source = make(tmp_path / f"in.{ending}", *VIDEO, *TONE, *words)
    derain(source, tmp_path / "out.mkv")
    assert len(frame_times(tmp_path / "out.mkv")) == FRAMES
    assert len(codecs(tmp_path / "out.mkv")) == 2
    found = run("probe", source)
    assert found.exit_code == 0
    assert "64×48" in found.stdout
    recorded = ("--record", tmp_path / "live.mkv", "--duration", "3", "--no-window")
    result = run("live", source, *recorded)
    assert result.exit_code == 0, result.output
    assert " restored, " in result.stderr
    assert len(frame_times(tmp_path / "live.mkv")) > 0


@pytest.mark.parametrize("ending", ["mov", "mp4"])
@pytest.mark.parametrize(("start", "timecode"), [("0", "10:20:30:00"), ("0.4", "10:20:30:10")])
def test_r2_r16_timecode_tracks(tmp_path: Path, ending: str, start: str, timecode: str) -> None:
    words = ("-c:v", "libx264", "-c:a", "aac", "-timecode", "10:20:30:00")
    source = make(tmp_path / f"in.{ending}", *VIDEO, *TONE, *words)
    said = derain(source, tmp_path / f"out.{ending}", "--start", start)
    assert "left out" not in said
    streams = probe(tmp_path / f"out.{ending}", "-show_streams")["streams"]
    (track,) = [each for each in streams if each["codec_tag_string"] == "tmcd"]
    assert track["tags"]["timecode"] == timecode


@pytest.mark.parametrize("name", ["in.mkv", "link.mkv", "hard.mkv"])
@pytest.mark.parametrize(
    "words",
    [
        ("live", "SOURCE", "--record", "NAME", "--overwrite", "--no-window"),
        ("derain", "SOURCE", "-o", "out.mkv", "--trace", "NAME", "--overwrite"),
        ("derain", "SOURCE", "-o", "NAME", "--overwrite"),
    ],
)
def test_r3_source_is_never_destroyed(tmp_path: Path, words: tuple[str, ...], name: str) -> None:
    source = Clip().make(tmp_path / "in.mkv")
    (tmp_path / "link.mkv").symlink_to(source)
    (tmp_path / "hard.mkv").hardlink_to(source)
    before = source.read_bytes()
    places = {"SOURCE": source, "NAME": tmp_path / name, "out.mkv": tmp_path / "out.mkv"}
    line = error_line(run(*(places.get(word, word) for word in words)))
    assert "is the source itself" in line
    assert line.endswith("; choose another target")
    assert source.read_bytes() == before
    assert not (tmp_path / "out.mkv").exists()


@pytest.mark.parametrize(
    ("source_ending", "pixels", "codec", "target"),
    [
        ("avi", "yuvj420p", "mjpeg", "out.avi"),
        ("avi", "yuvj422p", "mjpeg", "out.mov"),
        ("mp4", "yuvj420p", "libx264", "out.avi"),
    ],
)
def test_r4_full_range_is_shown_alike(
    tmp_path: Path, source_ending: str, pixels: str, codec: str, target: str
) -> None:
    ramp = "color=black:size=160x96:rate=25:duration=0.4,format=gray,geq=lum='X*255/159'"
    scale = ("-vf", "scale=out_range=pc", "-pix_fmt", pixels, "-color_range", "pc")
    words = (*scale, "-c:v", codec, "-q:v", "2")
    source = make(tmp_path / f"in.{source_ending}", "-f", "lavfi", "-i", ramp, *words)
    derain(source, tmp_path / target)
    shown = [
        np.frombuffer(
            ffmpeg("-i", path, "-frames:v", "1", "-vf", "format=gray", "-f", "rawvideo", "-"),
            np.uint8,
        ).astype(int)
        for path in (source, tmp_path / target)
    ]
    assert shown[0].max() > 245
    assert abs(shown[0] - shown[1]).max() <= 4
    code, checks = verify(source, tmp_path / target)
    assert code == 0, checks


@pytest.mark.parametrize("b_frames", ["2", "3"])
def test_r5_no_frame_is_invented(tmp_path: Path, b_frames: str) -> None:
    raw = make(tmp_path / "raw.h264", *VIDEO, "-c:v", "libx264", "-bf", b_frames)
    source = make(tmp_path / "in.mp4", "-i", raw, "-c", "copy")
    derain(source, tmp_path / "out.mp4")
    before, after = frame_times(source), frame_times(tmp_path / "out.mp4")
    assert len(after) == len(before)
    assert after == sorted(set(after))
    assert verify(source, tmp_path / "out.mp4")[0] == 0


@pytest.mark.parametrize("codec", ["pcm_alaw", "pcm_mulaw"])
def test_r6_g711_is_kept(tmp_path: Path, codec: str) -> None:
    words = ("-c:v", "libx264", "-c:a", codec, "-ar", "8000")
    source = make(tmp_path / "in.mkv", *VIDEO, *TONE, *words)
    assert "audio" not in derain(source, tmp_path / "out.mkv")
    assert codecs(tmp_path / "out.mkv") == ["h264", codec]
    result = run("live", source, "--record", tmp_path / "live.mkv", "--no-window")
    assert result.exit_code == 0, result.output
    assert codecs(tmp_path / "live.mkv") == ["h264", codec]


@pytest.mark.parametrize("ending", ["mp4", "mov", "mkv"])
def test_r7_clock_of_hours_starts_at_zero(tmp_path: Path, ending: str) -> None:
    words = ("-c:v", "libx264", "-c:a", "aac", "-output_ts_offset", "36000")
    source = make(tmp_path / "in.ts", *VIDEO, *TONE, *words)
    derain(source, tmp_path / f"out.{ending}")
    found = probe(tmp_path / f"out.{ending}", "-show_entries", "format=start_time,duration")
    assert float(found["format"]["start_time"]) < 0.1
    assert float(found["format"]["duration"]) < 1


@pytest.mark.parametrize("audio", ["pcm_s16le", "pcm_s24le"])
def test_r8_mxf_to_mxf(tmp_path: Path, audio: str) -> None:
    words = ("-c:v", "mpeg2video", "-bf", "2", "-c:a", audio)
    source = make(tmp_path / "in.mxf", *VIDEO, *TONE, *words)
    derain(source, tmp_path / "out.mxf")
    assert codecs(tmp_path / "out.mxf") == ["mpeg2video", audio]
    assert decoded_audio(tmp_path / "out.mxf") == decoded_audio(source)
    times = frame_times(tmp_path / "out.mxf")
    assert times == pytest.approx([number / 25 for number in range(FRAMES)], abs=0.001)
    assert verify(source, tmp_path / "out.mxf")[0] == 0


R9 = {
    "29.97 of MPEG-TS": (
        "in.ts",
        "out.mkv",
        ("-r", "30000/1001", "-c:v", "libx264", "-c:a", "aac"),
    ),
    "audio of DV": ("in.dv", "out.mp4", ("-target", "pal-dv", "-ac", "2")),
    "gray": ("in.mkv", "out.mkv", ("-pix_fmt", "gray", "-c:v", "ffv1", "-c:a", "flac")),
}


@pytest.mark.parametrize("case", R9)
def test_r9_verify_passes_what_is_right(tmp_path: Path, case: str) -> None:
    name, target, words = R9[case]
    source = make(tmp_path / name, *VIDEO, *TONE, *words)
    derain(source, tmp_path / target)
    code, checks = verify(source, tmp_path / target)
    assert code == 0, checks
    assert "failed" not in checks.values()


def test_r10_verify_fails_what_is_wrong(tmp_path: Path) -> None:
    tags = ("-metadata:s:a", "language=ger", "-metadata:s:a", "title=Main")
    words = ("-c:v", "libx264", "-c:a", "aac", *tags)
    source = make(tmp_path / "in.mkv", *VIDEO, *TONE, *words)
    stretch = ("-bsf:a", "setts=pts=PTS*1.5:dts=DTS*1.5")
    changes = ("-c", "copy", "-map_metadata:s:a", "-1", *stretch)
    target = make(tmp_path / "out.mkv", "-i", source, *changes)
    code, checks = verify(source, target)
    assert code == 1
    (failed,) = [text for text, state in checks.items() if state == "failed"]
    assert "s from their time" in failed
    assert "language" in failed
    assert "title" in failed


@pytest.mark.parametrize("codec", ["adpcm_ima_wav", "adpcm_ms"])
def test_r11_adpcm_in_avi_has_its_clock(tmp_path: Path, codec: str) -> None:
    words = ("-c:v", "libx264", "-bf", "0", "-c:a", codec)
    source = make(tmp_path / "in.avi", *VIDEO, *TONE, *words)
    derain(source, tmp_path / "out.avi")
    before, after = packet_times(source, "a:0")[-1], packet_times(tmp_path / "out.avi", "a:0")[-1]
    assert after == pytest.approx(before, abs=0.03)
    assert decoded_audio(tmp_path / "out.avi") == decoded_audio(source)


def test_r12_raw_dv_has_its_rate(tmp_path: Path) -> None:
    source = make(tmp_path / "in.dv", *VIDEO, *TONE, "-target", "pal-dv", "-ac", "2")
    found = json.loads(run("probe", source, "--json").stdout)
    assert (found["average_rate"], found["frame_count"]) == ("25", FRAMES)
    derain(source, tmp_path / "out.avi")
    words = ("-select_streams", "v", "-show_entries", "stream=avg_frame_rate,nb_frames")
    (stream,) = probe(tmp_path / "out.avi", *words)["streams"]
    assert (stream["avg_frame_rate"], stream["nb_frames"]) == ("25/1", str(FRAMES))


@pytest.mark.parametrize("name", ["in.png", "in.webp", "in.tiff"])
def test_r13_several_pictures_are_refused_by_name(tmp_path: Path, name: str) -> None:
    others = [image(red) for red in (10, 30, 50)]
    image().save(tmp_path / name, save_all=True, append_images=others)
    line = error_line(run("derain", tmp_path / name, "-o", tmp_path / f"out-{name}"))
    assert line.startswith(f"error: {tmp_path / name}: ")
    assert "holds several pictures" in line
    assert not (tmp_path / f"out-{name}").exists()


def test_r14_second_picture_of_a_jpeg_and_its_density(tmp_path: Path) -> None:
    """The index of pictures that are not there is removed, so the target is a plain JPEG."""
    source, target = tmp_path / "in.jpg", tmp_path / "out.jpg"
    image().save(source, "MPO", save_all=True, append_images=[image(9)])
    assert "left out" in derain(source, target)
    with Image.open(target) as found:
        assert (found.format, getattr(found, "n_frames", 1)) == ("JPEG", 1)
    image().save(source, dpi=(300, 300), comment=b"roof, camera 2")
    derain(source, target, "--overwrite")
    with Image.open(target) as found:
        assert found.info["dpi"] == (300, 300)
        assert found.info["comment"] == b"roof, camera 2"


@pytest.mark.parametrize("ending", ["mp4", "mov"])
def test_r15_hevc_has_the_tag_of_apples_players(tmp_path: Path, ending: str) -> None:
    source = make(tmp_path / "in.mp4", *VIDEO, "-c:v", "libx264")
    derain(source, tmp_path / f"out.{ending}", "--codec", "libx265")
    (stream,) = probe(tmp_path / f"out.{ending}", "-show_streams")["streams"]
    assert stream["codec_tag_string"] == "hvc1"


@pytest.mark.parametrize("tag", ["com.apple.quicktime.location.ISO6709", "com.android.version"])
def test_r17_quicktime_tags_are_kept(tmp_path: Path, tag: str) -> None:
    words = ("-c:v", "libx264", "-metadata", f"{tag}=+10.0+020.0/", "-movflags")
    source = make(tmp_path / "in.mov", *VIDEO, *words, "use_metadata_tags")
    derain(source, tmp_path / "out.mov")
    tags = probe(tmp_path / "out.mov", "-show_entries", "format_tags")["format"]["tags"]
    assert tags[tag] == "+10.0+020.0/"


R18 = """
import multiprocessing as mp, sys
from lfdn_video import restore
def job(name): return restore(sys.argv[1], name, weights=sys.argv[2]).frames
if __name__ == "__main__":
    print("parent", job(sys.argv[1] + ".a.mkv"))
    with mp.get_context("fork").Pool(1) as pool:
        try: print("child", pool.apply_async(job, (sys.argv[1] + ".b.mkv",)).get(60))
        except mp.TimeoutError: print("hung")
        except Exception as error: print("child:", error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no fork there")
def test_r18_forked_process_says_at_once_what_it_cannot_do(tmp_path: Path) -> None:
    source, weights = Clip().make(tmp_path / "in.mkv"), tiny_weights(tmp_path)
    command = [sys.executable, "-W", "ignore", "-c", R18, str(source), str(weights)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.splitlines()[0] == "parent 10"
    assert "forked" in done.stdout
    assert "hung" not in done.stdout


@pytest.mark.parametrize("ending", ["avif", "gif"])
def test_r19_one_frame_is_a_picture(tmp_path: Path, ending: str) -> None:
    image().save(tmp_path / f"in.{ending}")
    derain(tmp_path / f"in.{ending}", tmp_path / "out.png")
    with Image.open(tmp_path / "out.png") as found:
        assert found.size == SIZE
        assert found.convert("RGB").getpixel((5, 5)) == pytest.approx((90, 80, 70), abs=6)


def test_r19_folder_says_what_it_does_not_read(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a.jpg", "b.heic", "c.txt"):
        image().save(folder / name, "JPEG")
    said = derain(folder, tmp_path / "out")
    assert "b.heic" in said
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.jpg"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize(
    ("redirection", "code", "lines"), [(">/dev/full", 1, 1), ("2>&-", 0, 0), (">&-", 1, 1)]
)
def test_r20_full_or_closed_streams(
    tmp_path: Path, redirection: str, code: int, lines: int
) -> None:
    source, weights = Clip().make(tmp_path / "in.mkv"), tiny_weights(tmp_path)
    parts = (sys.executable, "-m", "lfdn_video", "derain", source, "-o", tmp_path / "out.mkv")
    command = " ".join(map(str, (*parts, "--weights", weights, "--json", redirection)))
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert len(done.stderr.splitlines()) == lines
    assert (tmp_path / "out.mkv").exists() == (code == 0)


def lfdn(*words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "lfdn", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
    return done


def test_r21_targets_are_checked_before_the_work(tmp_path: Path) -> None:
    for folder in ("input", "target"):
        (tmp_path / "pairs" / folder).mkdir(parents=True)
        image().resize((160, 120)).save(tmp_path / "pairs" / folder / "a.png")
    data = ("--data", f"pairs={tmp_path / 'pairs'}")
    words = ("--steps", "1", "--stages", "1:64x1", "-o", tmp_path / "run")
    one_pair = lfdn("train", *data, *words)
    assert one_pair.returncode == 1
    assert "image" in one_pair.stderr.splitlines()[-1]
    no_folder = lfdn("evaluate", *data, "--csv", tmp_path / "none" / "x.csv")
    assert no_folder.returncode == 1
    assert no_folder.stderr.splitlines()[-1].startswith(f"Error: {tmp_path / 'none'}")
    weights, other = tiny_weights(tmp_path), tmp_path / "other.safetensors"
    other.write_text("precious")
    assert lfdn("export", weights, "-o", other).returncode == 1
    assert other.read_text() == "precious"
