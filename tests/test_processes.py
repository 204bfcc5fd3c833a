"""Processes and pipes: closed and full streams, forks, links and permissions."""

import json
import multiprocessing
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from lfdn_video.errors import DeviceError, OutputError
from lfdn_video.inference import engine
from lfdn_video.options import EncodeOptions
from lfdn_video.pipeline import restore
from tests.support.clips import Clip
from tests.support.fakes import FakeRunner, identity
from tests.support.programs import tiny_weights

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="shells and forks of POSIX")

FRAMES = 4


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return Clip(pts=range(FRAMES)).make(tmp_path / "clip.mkv")


def derain(clip: Path, redirection: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the program in a shell with one of its streams redirected, to `out.mkv`."""
    weights = tiny_weights(clip.parent)
    parts = (sys.executable, "-m", "lfdn_video", "derain", clip, "-o", clip.with_name("out.mkv"))
    command = " ".join(map(str, (*parts, "--weights", weights, *words)))
    shell = ["sh", "-c", f"{command} {redirection}"]
    return subprocess.run(shell, capture_output=True, text=True, check=False)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("redirection", [">/dev/full", ">&-"])
def test_stdout_that_takes_no_events_is_one_error_line(clip: Path, redirection: str) -> None:
    done = derain(clip, redirection, "--json")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.startswith("error: stdout: cannot be written: ")
    assert not clip.with_name("out.mkv").exists()


def test_stdout_that_closes_on_the_way_costs_no_frame(clip: Path) -> None:
    """The reader takes the first event and leaves."""
    done = derain(clip, "| head -n 1 >/dev/null", "--json")
    assert clip.with_name("out.mkv").exists()
    assert "Traceback" not in done.stderr
    assert [line for line in done.stderr.splitlines() if "the work is done" in line]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("redirection", [">/dev/full", ">&-"])
@pytest.mark.parametrize("words", [[], ["--json"]])
def test_document_that_cannot_be_printed_is_one_error_line(
    clip: Path, words: list[str], redirection: str
) -> None:
    command = f"{sys.executable} -m lfdn_video probe {clip} {' '.join(words)} {redirection}"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.startswith("error: stdout: cannot be written: ")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("redirection", [">/dev/full", ">&-"])
@pytest.mark.parametrize("program", ["lfdn_video", "lfdn"])
@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_that_cannot_be_printed_is_one_error_line(
    program: str, option: str, redirection: str
) -> None:
    command = f"{sys.executable} -m {program} {option} {redirection}"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert "rror: stdout: cannot be written: " in done.stderr


@pytest.mark.parametrize(
    "redirection", ["2>&-", "<&-", ">&-", "<&- >&- 2>&-", "2>/dev/full", "2</dev/null", "2>&1 | :"]
)
def test_closed_streams_do_not_change_the_outcome(clip: Path, redirection: str) -> None:
    done = derain(clip, redirection)
    assert done.returncode == 0, done.stderr
    assert clip.with_name("out.mkv").exists()


def test_network_in_a_forked_process_is_refused_at_once(
    clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "_process", os.getpid() - 1)
    with pytest.raises(DeviceError, match=r'get_context\("spawn"\)'):
        engine.load_engine("derain")
    with pytest.raises(DeviceError, match="before this process was forked"):
        restore(clip, clip.with_name("out.mkv"), engine=FakeRunner(identity))
    assert not clip.with_name("out.mkv").exists()


def _restore_in_child(clip: str) -> int:
    weights = Path(clip).with_name("tiny.safetensors")
    return restore(clip, f"{clip}.mkv", weights=weights).frames


def test_spawned_process_restores(clip: Path) -> None:
    weights = tiny_weights(clip.parent)
    restore(clip, clip.with_name("out.mkv"), weights=weights)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(_restore_in_child, (str(clip),)) == FRAMES


def test_overwritten_target_keeps_its_permissions(clip: Path) -> None:
    target = clip.with_name("out.mkv")
    target.touch(mode=0o600)
    target.chmod(0o600)
    options = EncodeOptions(overwrite=True)
    restore(clip, target, engine=FakeRunner(identity), encode=options)
    assert target.stat().st_size > 0
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


@pytest.mark.parametrize("exists", [True, False])
def test_target_that_is_a_link_is_followed_and_named(clip: Path, exists: bool) -> None:
    folder = clip.with_name("disk")
    folder.mkdir()
    real, link = folder / "real.mkv", clip.with_name("out.mkv")
    if exists:
        real.touch()
    link.symlink_to(real)
    with pytest.raises(OutputError, match="exists already"):
        restore(clip, link, engine=FakeRunner(identity))
    options = EncodeOptions(overwrite=True)
    summary = restore(clip, link, engine=FakeRunner(identity), encode=options)
    assert link.is_symlink()
    assert real.stat().st_size > 0
    assert f"{link}: is a link, and stays one; {real} is written" in summary.warnings


def test_events_are_complete_on_a_good_stdout(clip: Path) -> None:
    done = derain(clip, "", "--json")
    last = json.loads(done.stdout.splitlines()[-1])
    assert (last["event"], last["frames"], last["kept_frames"]) == ("done", FRAMES, 0)
