"""The command line: its output, its exit codes, and that it leaves nothing behind."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import click
import numpy as np
import pytest
from av.audio.frame import AudioFrame
from av.video.frame import VideoFrame
from click.testing import CliRunner, Result

from lfdn import LFDN, LFDNConfig
from lfdn.weights import save_weights
from lfdn_video.cli import commands as cli
from lfdn_video.cli import targets
from lfdn_video.cli.doctor import CLIP_TIMES, make_clip
from lfdn_video.errors import DeviceError
from lfdn_video.inference import engine
from lfdn_video.input.open import open_reader
from lfdn_video.options import SpanOptions
from tests.support.fakes import identity_engine

SUBPROCESS_TIMEOUT_S = 120


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Eight tiny frames at a variable rate, lossless."""
    path = tmp_path / "clip.mkv"
    make_clip(path)
    return path


@pytest.fixture
def _identity(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run every task with a network that changes nothing."""
    monkeypatch.setattr(engine, "load_engine", lambda *_, **__: identity_engine())


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """The weights file of a tiny, untrained network."""
    folder = tmp_path / "weights"
    folder.mkdir()
    network = LFDN(LFDNConfig(widths=(4, 4, 4, 4, 4), blocks=1))
    save_weights(network, folder / "tiny.safetensors", task="derain")
    return folder / "tiny.safetensors"


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(cli.main, [str(word) for word in words], prog_name="lfdn-video")


def events(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def frame_count(path: Path) -> int:
    with open_reader(path) as reader:
        return sum(1 for _ in reader.frames())


def long_clip(path: Path, frames: int = 1500) -> Path:
    with av.open(path, "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "gray"
        picture = VideoFrame.from_ndarray(np.zeros((48, 64), np.uint8), format="gray")
        for pts in range(frames):
            picture.pts, picture.time_base = pts, Fraction(1, 25)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return path


def audio_only(path: Path) -> Path:
    with av.open(path, "w") as container:
        stream = container.add_stream("aac", rate=44_100, layout="mono")
        frame = AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), "fltp", "mono")
        frame.sample_rate = 44_100
        frame.pts = 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


class TestSuccess:
    @pytest.mark.usefixtures("_identity")
    def test_target_has_every_frame(self, clip: Path) -> None:
        result = run("derain", clip, "-o", clip.with_name("out.mkv"))
        assert (result.exit_code, result.stdout) == (0, "")
        assert frame_count(clip.with_name("out.mkv")) == len(CLIP_TIMES)

    @pytest.mark.usefixtures("_identity")
    def test_summary_is_one_line_with_the_bottleneck(self, clip: Path) -> None:
        last = run("derain", clip, "-o", clip.with_name("out.mkv")).stderr.splitlines()[-1]
        assert f"out.mkv: {len(CLIP_TIMES)} frames in " in last
        assert "bottleneck: " in last

    @pytest.mark.usefixtures("_identity")
    def test_default_target_is_beside_the_input(self, clip: Path) -> None:
        assert run("derain", clip).exit_code == 0
        assert frame_count(clip.with_name("clip.derained.mkv")) == len(CLIP_TIMES)

    @pytest.mark.usefixtures("_identity")
    def test_quiet_prints_nothing(self, clip: Path) -> None:
        result = run("derain", clip, "--quiet")
        assert (result.exit_code, result.output) == (0, "")

    @pytest.mark.usefixtures("_identity")
    def test_overwrite_replaces_the_target(self, clip: Path) -> None:
        target = clip.with_name("out.mkv")
        target.write_bytes(b"old")
        assert run("derain", clip, "-o", target, "--overwrite").exit_code == 0
        assert frame_count(target) == len(CLIP_TIMES)

    @pytest.mark.usefixtures("_identity")
    def test_start_and_end_trim(self, clip: Path) -> None:
        target = clip.with_name("out.mkv")
        assert run("derain", clip, "-o", target, "--start", "0.1", "--end", "0:0.24").exit_code == 0
        assert frame_count(target) == len([t for t in CLIP_TIMES if 100 <= t < 240])

    @pytest.mark.usefixtures("_identity")
    def test_folder_of_images_becomes_a_folder(self, clip: Path) -> None:
        folder = clip.with_name("frames")
        folder.mkdir()
        assert run("derain", clip, "-o", folder / "%06d.png").exit_code == 0
        assert run("derain", folder).exit_code == 0
        names = [path.name for path in sorted(clip.with_name("frames-derained").iterdir())]
        assert names == [f"{number:06}.png" for number in range(1, len(CLIP_TIMES) + 1)]

    @pytest.mark.usefixtures("_identity")
    def test_images_become_a_video_of_the_given_frame_rate(self, clip: Path) -> None:
        pattern, target = clip.with_name("f%03d.png"), clip.with_name("out.mkv")
        assert run("derain", clip, "-o", pattern).exit_code == 0
        assert run("derain", pattern, "-o", target, "--rate", "30000/1001").exit_code == 0
        with open_reader(target) as reader:
            assert reader.info.average_rate == Fraction(30000, 1001)

    def test_deblur_takes_a_weights_file(self, clip: Path, weights: Path) -> None:
        result = run("deblur", clip, "--weights", weights)
        assert result.exit_code == 0, result.stderr
        assert frame_count(clip.with_name("clip.deblurred.mkv")) == len(CLIP_TIMES)


class TestJson:
    @pytest.mark.usefixtures("_identity")
    def test_first_event_is_start_and_last_is_done(self, clip: Path) -> None:
        seen = [event["event"] for event in events(run("derain", clip, "--json"))]
        assert (seen[0], seen[-1]) == ("start", "done")
        assert set(seen[1:-1]) == {"progress"}

    @pytest.mark.usefixtures("_identity")
    def test_done_event_has_target_and_stages(self, clip: Path) -> None:
        done = events(run("derain", clip, "--json"))[-1]
        assert done["output"] == str(clip.with_name("clip.derained.mkv"))
        assert set(done["stages"]) == {"decode", "model", "temporal", "encode"}
        assert done["frames"] == len(CLIP_TIMES)

    def test_error_is_the_last_event(self, tmp_path: Path) -> None:
        result = run("derain", tmp_path / "none.mp4", "--json")
        assert events(result)[-1]["event"] == "error"
        assert events(result)[-1]["exit_code"] == result.exit_code == 1

    def test_option_error_is_the_only_event(self, clip: Path) -> None:
        result = run("derain", clip, "--json", "--start", "5", "--end", "3")
        assert [event["event"] for event in events(result)] == ["error"]
        assert result.exit_code == 2

    @pytest.mark.usefixtures("_identity")
    def test_every_event_field_is_documented(self, clip: Path) -> None:
        schema = (Path(__file__).parents[2] / "docs/json.md").read_text(encoding="utf-8")
        fields = {name for event in events(run("derain", clip, "--json")) for name in event}
        assert {name for name in fields if f"`{name}`" not in schema} == {"event"}


class TestBadInput:
    """Each gives one line, the right exit code, no traceback and no file."""

    @pytest.fixture(autouse=True)
    def _no_network(self, _identity: None) -> None:
        """Faults of a file are found without loading weights."""

    def error_line(self, *words: str | Path, folder: Path, code: int = 1) -> str:
        """Run a command that must fail and leave `folder` unchanged. Returns its error line."""
        before = {path: path.stat() for path in folder.rglob("*")}
        result = run(*words)
        assert result.exit_code == code, result.output
        assert {path: path.stat().st_size for path in folder.rglob("*")} == {
            path: stat.st_size for path, stat in before.items()
        }
        lines = result.stderr.splitlines()
        assert len(lines) == 1, result.stderr
        assert lines[0].startswith("error: ")
        assert "this is a bug" not in lines[0]
        return lines[0]

    def test_missing_input_is_refused(self, tmp_path: Path) -> None:
        line = self.error_line("derain", tmp_path / "none.mp4", folder=tmp_path)
        assert "none.mp4: no such file" in line

    def test_folder_without_videos_and_images_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "notes.txt").touch()
        words = ("derain", tmp_path, "-o", f"{tmp_path}-out")
        problem = f"{tmp_path}: holds no videos or images"
        assert problem in self.error_line(*words, folder=tmp_path)
        assert not Path(f"{tmp_path}-out").exists()

    def test_name_that_is_not_utf_8_is_printed(self, tmp_path: Path) -> None:
        path = tmp_path / "caf\udce9.mp4"
        path.touch()
        assert "the file is empty" in self.error_line("derain", path, folder=tmp_path)

    def test_empty_folder_is_refused(self, tmp_path: Path) -> None:
        folder = tmp_path / "folder"
        folder.mkdir()
        assert f"{folder}: " in self.error_line("derain", folder, folder=tmp_path)

    def test_empty_file_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "empty.mp4").touch()
        line = self.error_line("derain", tmp_path / "empty.mp4", folder=tmp_path)
        assert "empty.mp4: the file is empty" in line

    def test_text_file_named_mp4_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "text.mp4").write_text("Dear diary, it rained.\n" * 50)
        line = self.error_line("derain", tmp_path / "text.mp4", folder=tmp_path)
        assert "text.mp4: " in line

    def test_audio_file_is_refused(self, tmp_path: Path) -> None:
        path = audio_only(tmp_path / "song.m4a")
        line = self.error_line("derain", path, "-o", tmp_path / "out.mp4", folder=tmp_path)
        assert "song.m4a: there is no video in it" in line

    def test_truncated_mp4_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "truncated.mp4"
        sample = Path(__file__).parents[2] / "samples/truncated.mp4"
        path.write_bytes(sample.read_bytes())
        assert "truncated.mp4: " in self.error_line("derain", path, folder=tmp_path)

    def test_missing_target_folder_is_refused(self, clip: Path) -> None:
        target = clip.parent / "nowhere" / "out.mp4"
        line = self.error_line("derain", clip, "-o", target, folder=clip.parent)
        assert "nowhere" in line

    def test_existing_target_is_refused(self, clip: Path) -> None:
        target = clip.with_name("out.mkv")
        target.write_bytes(b"precious")
        line = self.error_line("derain", clip, "-o", target, folder=clip.parent)
        assert "out.mkv: " in line
        assert "--overwrite" in line

    def test_target_that_is_the_source_is_refused(self, clip: Path) -> None:
        line = self.error_line("derain", clip, "-o", clip, "--overwrite", folder=clip.parent)
        assert "clip.mkv: " in line

    def test_target_that_links_to_the_source_is_refused(self, clip: Path) -> None:
        link = clip.with_name("link.mkv")
        link.symlink_to(clip)
        assert "link.mkv" in self.error_line(
            "derain", clip, "-o", link, "--overwrite", folder=clip.parent
        )

    def test_unknown_codec_is_refused(self, clip: Path) -> None:
        line = self.error_line("derain", clip, "--codec", "x264", folder=clip.parent, code=2)
        assert "x264" in line

    def test_misspelt_codec_option_is_refused(self, clip: Path) -> None:
        words = ("derain", clip, "--codec-option", "tuen=film")
        assert "tuen" in self.error_line(*words, folder=clip.parent, code=2)

    def test_target_below_a_file_is_refused(self, clip: Path) -> None:
        target = clip / "out.mkv"
        assert "out.mkv" in self.error_line("derain", clip, "-o", target, folder=clip.parent)

    @pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs Linux's /proc")
    def test_unwritable_target_is_refused(self, clip: Path) -> None:
        target = "/proc/out.mkv"  # not even root may write there
        line = self.error_line("derain", clip, "-o", target, folder=clip.parent)
        assert "/proc/out.mkv: cannot be written: " in line

    def test_target_of_unknown_format_is_refused(self, clip: Path) -> None:
        target = clip.with_name("out.xyz")
        assert "out.xyz" in self.error_line("derain", clip, "-o", target, folder=clip.parent)

    def test_address_is_refused(self, tmp_path: Path) -> None:
        words = ("derain", "https://example.org/rain.mp4")
        assert "https://example.org/rain.mp4: is an address" in self.error_line(
            *words, folder=tmp_path
        )

    def test_pattern_without_output_is_refused(self, tmp_path: Path) -> None:
        words = ("derain", tmp_path / "frame_%05d.png")
        assert "--output" in self.error_line(*words, folder=tmp_path, code=2)


class TestStderrOfProcess:
    """Libraries write to stderr themselves, which a test in the same process does not see."""

    @pytest.mark.parametrize(
        ("words", "code", "about"),
        [
            (["samples/truncated.mp4"], 1, "truncated.mp4: "),
            (["pyproject.toml"], 1, "pyproject.toml: "),
            (
                ["samples/variable_rate.mp4", "--preset", "swift"],
                2,
                "'swift' is none of ultrafast, ",
            ),
            (["samples/variable_rate.mp4", "--codec-option", "tuen=film"], 2, "'tuen'"),
        ],
    )
    def test_stderr_has_the_error_line_only(
        self, words: list[str], code: int, about: str, tmp_path: Path
    ) -> None:
        target = str(tmp_path / "out.mp4")
        program = [sys.executable, "-m", "lfdn_video", "derain", *words, "-o", target]
        root = Path(__file__).parents[2]
        done = subprocess.run(program, cwd=root, capture_output=True, text=True, check=False)
        assert done.returncode == code
        assert len(done.stderr.splitlines()) == 1, done.stderr
        assert about in done.stderr
        assert list(tmp_path.iterdir()) == []


class TestErrors:
    def test_task_without_packaged_weights_names_the_option(
        self, clip: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("lfdn.weights._read_index", dict)
        result = run("deblur", clip)
        assert result.exit_code == 1
        assert "--weights" in result.stderr.splitlines()[-1]

    def test_file_that_is_not_weights_is_refused(self, clip: Path) -> None:
        result = run("derain", clip, "--weights", clip)
        assert result.exit_code == 1
        assert "not a readable safetensors file" in result.stderr.splitlines()[-1]

    @pytest.mark.parametrize(
        "words",
        [
            ["--tile", "big"],
            ["--batch", "0"],
            ["--start", "soon"],
            ["--codec-option", "tune"],
            ["--rate", "0"],
            ["--precision", "int4"],
            ["--nonsense"],
        ],
    )
    def test_wrong_option_is_a_usage_error(self, words: list[str], clip: Path) -> None:
        result = run("derain", clip, *words)
        assert result.exit_code == 2
        assert words[0] in result.stderr

    def make_loading_fail(self, monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
        def load_engine(*_: object, **__: object) -> None:
            raise error

        monkeypatch.setattr(engine, "load_engine", load_engine)

    def test_bug_is_one_line(self, clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.make_loading_fail(monkeypatch, ZeroDivisionError("a\nb"))
        result = run("derain", clip, "--quiet")
        assert result.exit_code == 1
        assert result.stderr.startswith("error: ZeroDivisionError: a b; this is a bug")
        assert result.stderr.count("\n") == 1

    def test_verbose_prints_the_traceback(
        self, clip: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.make_loading_fail(monkeypatch, DeviceError("cuda: gone"))
        result = run("derain", clip, "--verbose")
        assert "Traceback (most recent call last)" in result.stderr
        assert result.stderr.splitlines()[-1] == "error: cuda: gone"


class TestInterrupted:
    """A process that a signal stops half-way."""

    def run_and_stop(
        self, signal_number: int, clip: Path, weights: Path, *, before: Sequence[str] = ()
    ) -> tuple[int, str]:
        command = [*before, sys.executable, "-m", "lfdn_video", "derain", str(clip), "--json"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        with subprocess.Popen(
            [*command, "--weights", str(weights)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                if '"progress"' in line:
                    process.send_signal(signal_number)
                    break
            _, stderr = process.communicate(timeout=SUBPROCESS_TIMEOUT_S)
        return process.returncode, stderr

    @pytest.mark.skipif(os.name == "nt", reason="signals are POSIX")
    @pytest.mark.parametrize(
        ("signal_number", "code", "line"),
        [
            (signal.SIGINT, 130, "error: interrupted; nothing was written: "),
            (signal.SIGTERM, 143, "error: terminated; nothing was written: "),
        ],
        ids=["ctrl-c", "sigterm"],
    )
    def test_interrupted_run_leaves_nothing(
        self, signal_number: int, code: int, line: str, tmp_path: Path, weights: Path
    ) -> None:
        clip = long_clip(tmp_path / "long.mkv")
        # So the user knows why nothing can be resumed.
        line += "the first 250 frames were not done yet\n"
        assert self.run_and_stop(signal_number, clip, weights) == (code, line)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["long.mkv", "weights"]

    @pytest.mark.skipif(os.name == "nt", reason="signals are POSIX")
    def test_background_command_of_a_script_can_be_interrupted(
        self, tmp_path: Path, weights: Path
    ) -> None:
        clip = long_clip(tmp_path / "long.mkv")
        ignoring = ["sh", "-c", 'trap "" INT; exec "$@"', "sh"]
        code, _ = self.run_and_stop(signal.SIGINT, clip, weights, before=ignoring)
        assert code == 130


class TestHelp:
    def commands(self) -> Iterator[Sequence[str]]:
        yield []
        yield from ([name] for name in cli.main.commands)

    def test_every_option_has_help(self) -> None:
        options = [
            option
            for command in cli.main.commands.values()
            for option in command.params
            if isinstance(option, click.Option)
        ]
        assert [option.name for option in options if not option.help] == []

    @pytest.mark.parametrize(
        ("command", "tasks"),
        [("derain", ["derain"]), ("deblur", ["deblur"]), ("degrade", ["rain", "blur"])],
    )
    def test_help_of_output_names_the_default_target(self, command: str, tasks: list[str]) -> None:
        output = next(p for p in cli.main.commands[command].params if p.name == "output")
        assert isinstance(output, click.Option)
        for task in tasks:
            assert targets.default_target("NAME.EXT", task) in str(output.help)

    @pytest.mark.parametrize("words", [["--help"], ["derain", "--help"], ["--version"]])
    def test_help_loads_no_heavy_module(self, words: list[str]) -> None:
        probe = (
            "import sys; from lfdn_video.cli import main\n"
            "try: main(sys.argv[1:])\n"
            "except SystemExit: print({'torch', 'av', 'cv2', 'numpy', 'rich'} & set(sys.modules))"
        )
        done = subprocess.run(
            [sys.executable, "-c", probe, *words], capture_output=True, text=True, check=True
        )
        assert done.stdout.splitlines()[-1] == "set()"

    def test_exit_codes_are_documented(self) -> None:
        schema = (Path(__file__).parents[2] / "docs/json.md").read_text(encoding="utf-8")
        assert all(f"| {code} |" in schema for code in (0, 1, 2, 130, 143))


class TestProbe:
    def test_table_describes_the_video(self, clip: Path) -> None:
        result = run("probe", clip)
        assert result.exit_code == 0
        assert "ffv1, 96×64, yuv420p" in result.stdout

    def test_json_is_one_document(self, clip: Path) -> None:
        info = json.loads(run("probe", clip, "--json").stdout)
        assert (info["width"], info["height"], info["codec"]) == (96, 64, "ffv1")
        assert info["time_base"] == "1/1000"

    def test_error_leaves_stdout_empty_with_json(self, tmp_path: Path) -> None:
        result = run("probe", tmp_path / "none.mp4", "--json")
        assert (result.exit_code, result.stdout) == (1, "")


class TestDefaultTarget:
    @pytest.mark.parametrize(
        ("source", "target"),
        [
            ("clip.mp4", "clip.derained.mp4"),
            ("a/b.c.mkv", "a/b.c.derained.mkv"),
            ("clip", "clip.derained"),
            ("picture.png", "picture.derained.png"),
        ],
    )
    def test_file_gets_the_task_in_its_name(self, source: str, target: str) -> None:
        assert Path(targets.default_target(source, "derain")) == Path(target)

    def test_folder_gets_the_task_in_its_name(self, tmp_path: Path) -> None:
        assert targets.default_target(f"{tmp_path}/", "deblur") == f"{tmp_path}-deblurred"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("12.5", 12.5), ("90", 90), ("1:30", 90), ("01:02:03.250", 3723.25), (".5", 0.5)],
)
def test_start_takes_seconds_and_clock_times(text: str, seconds: float) -> None:
    option = next(param for param in cli.derain.params if param.name == "start_s")
    assert option.type.convert(text, option, None) == seconds


def test_span_after_the_end_is_refused(clip: Path) -> None:
    span = SpanOptions(start_s=1000)
    assert span.start_s == 1000
    result = run("derain", clip, "--start", "1000")
    assert result.exit_code != 0
