"""`doctor` finds faults of an installation, and says what to do."""

import json
from pathlib import Path

import av
import pytest
from click.testing import CliRunner

import lfdn
from lfdn.weights import file_sha256
from lfdn_video.checks import Check
from lfdn_video.cli import commands as cli
from lfdn_video.cli import doctor
from lfdn_video.errors import DeviceError
from lfdn_video.inference import engine
from lfdn_video.input.open import open_reader
from tests.support.fakes import identity_engine


@pytest.fixture
def packaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Packaged derain weights in a file of the test, and a network that changes nothing."""
    path = tmp_path / "derain.safetensors"
    path.write_bytes(b"weights")
    expected = file_sha256(path)
    monkeypatch.setattr(lfdn, "available", lambda: ("derain",))
    monkeypatch.setattr(doctor, "find_packaged", lambda _: (path, expected))
    monkeypatch.setattr(engine, "load_engine", lambda *_, **__: identity_engine())
    return path


def checks(name: str) -> list[Check]:
    return [check for check in doctor.examine() if check.name == name]


def states(name: str) -> list[str]:
    return [check.state for check in checks(name)]


@pytest.mark.usefixtures("packaged")
def test_working_installation_passes() -> None:
    result = CliRunner().invoke(cli.main, ["doctor"])
    assert (result.exit_code, "FAILED" in result.stdout) == (0, False)


@pytest.mark.usefixtures("packaged")
def test_json_lists_every_check() -> None:
    report = json.loads(CliRunner().invoke(cli.main, ["doctor", "--json"]).stdout)
    assert report["ok"] is True
    names = {check["name"] for check in report["checks"]}
    assert names == {
        "versions",
        "device",
        "encoders",
        "weights",
        "extras",
        "self-test",
        "speed",
    }


def test_modified_weights_fail(packaged: Path) -> None:
    packaged.write_bytes(b"changed")
    assert checks("weights")[0].text.endswith("was modified; reinstall lfdn-video")
    assert CliRunner().invoke(cli.main, ["doctor"]).exit_code == 1


def test_missing_weights_fail(packaged: Path) -> None:
    packaged.unlink()
    assert states("weights") == ["failed", "warning"]


@pytest.mark.usefixtures("packaged")
def test_self_test_fails_if_the_network_cannot_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def load_engine(*_: object, **__: object) -> None:
        raise DeviceError("cpu: out of memory")

    monkeypatch.setattr(engine, "load_engine", load_engine)
    assert [check.text for check in checks("self-test")] == ["cpu: out of memory"]


@pytest.mark.usefixtures("packaged")
def test_self_test_fails_if_frames_are_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = iter([[1, 2, 3], [1, 2]])
    monkeypatch.setattr(doctor, "_frame_times", lambda _: next(counts))
    assert states("self-test") == ["failed"]


@pytest.mark.usefixtures("packaged")
def test_missing_encoder_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def codec(name: str, mode: str) -> None:
        raise av.codec.codec.UnknownCodecError(name)

    monkeypatch.setattr(av, "Codec", codec)
    assert "PyAV has no libx264" in doctor._check_encoders(cuda=False).text


def test_generated_clip_has_a_variable_frame_rate(tmp_path: Path) -> None:
    doctor.make_clip(tmp_path / "clip.mkv")
    with open_reader(tmp_path / "clip.mkv") as reader:
        assert tuple(frame.pts for frame in reader.frames()) == doctor.CLIP_TIMES
