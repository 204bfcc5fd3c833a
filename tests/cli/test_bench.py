"""`bench`, and what `probe` and `doctor` say of the time that a run takes."""

import json
import tomllib
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from torch import Tensor

from lfdn_video.cli import doctor, foresight
from lfdn_video.cli.commands import main
from lfdn_video.errors import DeviceError, OptionError
from lfdn_video.inference import engine, throughput
from lfdn_video.inference.devices import DeviceInfo
from lfdn_video.inference.engine import Engine
from lfdn_video.inference.throughput import Candidate, draw_source, list_candidates, measure_fps
from lfdn_video.media import Frame
from lfdn_video.options import InferenceOptions
from lfdn_video.output.writer import Writer
from tests.support.clips import Clip
from tests.support.fakes import FakeRunner, identity_engine

TWO = [Candidate("cpu", "float32", "full"), Candidate("cpu", "int8", "full")]


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two ways to run a network that changes nothing; the second is not installed."""

    def load_engine(_: str, *, options: InferenceOptions, **__: object) -> Engine:
        if options.precision == "int8":
            raise OptionError("precision: OpenVINO is not installed")
        return identity_engine()

    monkeypatch.setattr(engine, "load_engine", load_engine)
    monkeypatch.setattr(throughput, "list_candidates", lambda _: TWO)


@pytest.mark.usefixtures("fake")
def test_bench_lists_every_way_and_the_reason_where_it_fails(tmp_path: Path) -> None:
    clip = Clip(codec="ffv1", pts=tuple(range(10))).make(tmp_path / "clip.mkv")
    result = CliRunner().invoke(main, ["bench", str(clip), "--seconds", "0.1"])
    lines = result.stdout.splitlines()
    assert (result.exit_code, len(lines)) == (0, 4)
    assert lines[2].startswith("* cpu     float32    full")
    assert lines[3].endswith("–  precision: OpenVINO is not installed")


@pytest.mark.usefixtures("fake")
def test_bench_without_a_clip_measures_720p() -> None:
    result = CliRunner().invoke(main, ["bench", "--seconds", "0.1", "--json"])
    found = json.loads(result.stdout)
    assert found["size"] == [1280, 720]
    assert [row["fps"] is None for row in found["speeds"]] == [False, True]
    assert found["speeds"][0]["seconds"] is None  # no clip, no length


def test_bench_of_no_clip_is_one_line() -> None:
    result = CliRunner().invoke(main, ["bench", "nothing.mp4"])
    assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1)


def test_measured_speed_is_that_of_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock that only the network moves: 20 ms a frame."""
    now_s = 0.0

    def network(batch: Tensor) -> Tensor:
        nonlocal now_s
        now_s += 0.02
        return batch

    monkeypatch.setattr("time.perf_counter", lambda: now_s)
    info, frames = draw_source(64, 48, 3)
    with Engine(network) as slow:
        assert measure_fps(frames, info, slow, seconds=0.5) == pytest.approx(50, rel=0.15)


def test_lanes_that_finish_together_are_counted_as_one_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By a clock of which four frames come every two seconds."""
    seen = 0

    def clock() -> float:
        nonlocal seen
        seen += 1
        return 2.0 * ((seen - 1) // 4)

    monkeypatch.setattr("time.perf_counter", clock)
    info, frames = draw_source(64, 48, 3)
    runner = FakeRunner(max_batches_in_flight=4)
    assert [measure_fps(frames, info, runner, seconds=s) for s in (1.0, 3.0)] == [2.0, 2.0]


def test_default_way_comes_first_and_devices_have_their_own_precisions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = (DeviceInfo("cuda:0", "a GPU"), DeviceInfo("cpu", "2 threads"))
    monkeypatch.setattr(throughput, "list_devices", lambda: found)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    ways = list_candidates("derain")
    assert ways[0] == Candidate("cuda:0", "float16", "full")
    assert {way.precision for way in ways if way.device == "cpu"} == {
        "float32",
        "bfloat16",
        "int8",
    }
    assert {way.network for way in ways} == {"full", "lite"}


@pytest.fixture
def clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(engine, "load_engine", lambda *_, **__: identity_engine())
    return Clip(codec="ffv1", pts=tuple(range(50))).make(tmp_path / "clip.mkv")


def test_foreseen_run_ends_early_and_leaves_nothing(
    clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = 0
    written_by = Writer.write

    def write(self: Writer, frame: Frame) -> None:
        nonlocal written
        written += 1
        written_by(self, frame)

    monkeypatch.setattr(Writer, "write", write)
    seen = foresight.foresee_run(clip, 0.0)
    assert written < 50
    assert seen.seconds is not None
    assert list(clip.parent.iterdir()) == [clip]


def test_probe_says_what_a_run_takes_if_asked(clip: Path) -> None:
    plain = CliRunner().invoke(main, ["probe", str(clip)]).stdout
    asked = CliRunner().invoke(main, ["probe", str(clip), "--estimate"]).stdout
    assert "derain takes" not in plain
    assert "derain takes  about" in asked
    found = json.loads(
        CliRunner().invoke(main, ["probe", str(clip), "--estimate", "--json"]).stdout
    )
    assert found["estimate"]["device"] == "cpu"
    assert found["codec"] == "ffv1"


def test_short_source_is_measured_whole(clip: Path) -> None:
    seen = foresight.foresee_run(clip, 60.0)
    assert seen.seconds == pytest.approx(50 / seen.fps)


def test_probe_shows_a_file_that_cannot_be_restored(
    clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load_engine(*_: object, **__: object) -> None:
        raise DeviceError("cuda: no such device")

    monkeypatch.setattr(engine, "load_engine", load_engine)
    result = CliRunner().invoke(main, ["probe", str(clip), "--estimate"])
    assert result.exit_code == 0
    assert "no time: cuda: no such device" in result.stdout
    result = CliRunner().invoke(main, ["probe", str(clip), "--estimate", "--json"])
    assert json.loads(result.stdout)["estimate"] is None


def test_doctor_names_missing_extras(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "find_spec", lambda name: None if name == "openvino" else object())
    text = doctor._check_extras().text
    assert "pip install 'lfdn-video[openvino]'" in text
    assert "web installed" in text


def test_doctor_knows_every_extra() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    assert set(doctor.EXTRAS) == set(extras) - {"dev"}


def test_doctor_measures_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "load_engine", lambda *_, **__: identity_engine())
    monkeypatch.setattr(doctor, "SPEED_S", 0.1)
    check = doctor._measure_speed()
    assert check.state == "ok"
    assert "fps for 640×360 on cpu" in check.text
