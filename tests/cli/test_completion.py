"""What shells complete."""

import os
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest
from click.shell_completion import ShellComplete

import lfdn.cli
from lfdn_video.cli import main


def complete(*words: str, program: click.Group = main) -> list[tuple[str, str]]:
    """Complete the last word; return types and values."""
    shell = ShellComplete(program, {}, "lfdn-video", "_LFDN_VIDEO_COMPLETE")
    return [(item.type, item.value) for item in shell.get_completions(list(words[:-1]), words[-1])]


@pytest.mark.parametrize(
    "words",
    [
        ("derain", "cl"),
        ("deblur", "cl"),
        ("degrade", "rain", "cl"),
        ("probe", "cl"),
        ("bench", "cl"),
        ("verify", "a.mp4", "cl"),
        ("compare", "a.mp4", "cl"),
        ("report", "cl"),
        ("report", "a.mp4", "b.mp4", "--reference", "cl"),
        ("derain", "--report-json", "cl"),
        ("derain", "--from-list", "cl"),
        ("live", "cl"),
        ("derain", "a.mp4", "-o", "cl"),
        ("derain", "--weights", "cl"),
        ("live", "--record", "cl"),
    ],
)
def test_names_of_files_are_completed(words: tuple[str, ...]) -> None:
    assert complete(*words) == [("file", "cl")]


@pytest.mark.parametrize(
    "words",
    [
        ("evaluate", "--weights", "cl"),
        ("train", "--init", "cl"),
        ("train", "--teacher", "cl"),
        ("export", "cl"),
        ("pack", "-o", "cl"),
    ],
)
def test_names_of_files_are_completed_for_training(words: tuple[str, ...]) -> None:
    assert complete(*words, program=lfdn.cli.main) == [("file", "cl")]


def test_encoders_devices_and_choices_are_completed() -> None:
    assert ("plain", "libx265") in complete("derain", "--codec", "libx2")
    assert complete("derain", "--device", "c") == [("plain", "cpu"), ("plain", "cuda")]
    assert complete("live", "--prefer", "q") == [("plain", "quality")]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_program_speaks_to_shells(shell: str, tmp_path: Path) -> None:
    words = {"COMP_WORDS": "lfdn-video derain cl", "COMP_CWORD": "2" if shell != "fish" else "cl"}
    done = subprocess.run(
        [sys.executable, "-c", "from lfdn_video.cli import main; main(prog_name='lfdn-video')"],
        env={**os.environ, **words, "_LFDN_VIDEO_COMPLETE": f"{shell}_complete"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split()[0].startswith("file")


ENDING_S = 30.0
STARTUP = """PS1='ready: '
PATH=$PWD/bin:$PATH
eval "$(_LFDN_VIDEO_COMPLETE=bash_source lfdn-video)"
"""
PROGRAM = f"#!{sys.executable}\nfrom lfdn_video.cli import main\nmain(prog_name='lfdn-video')\n"


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_tab_key_of_bash_completes_files_and_encoders(tmp_path: Path) -> None:
    import pty  # not on Windows

    (tmp_path / "clip of a dashcam.mp4").touch()
    (tmp_path / "startup").write_text(STARTUP)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "lfdn-video").write_text(PROGRAM)
    (tmp_path / "bin" / "lfdn-video").chmod(0o755)
    terminal, its_end = pty.openpty()
    shell = subprocess.Popen(
        ["bash", "--rcfile", "startup", "-i"],
        env={**os.environ, "TERM": "dumb"},
        cwd=tmp_path,
        stdin=its_end,
        stdout=its_end,
        stderr=its_end,
        start_new_session=True,
    )
    os.close(its_end)
    try:
        read_until(terminal, "ready: ")
        os.write(terminal, b"lfdn-video derain cli\t")
        read_until(terminal, r"clip\ of\ a\ dashcam.mp4 ")
        os.write(terminal, b"--codec libsvt\t")
        read_until(terminal, "libsvtav1 ")
    finally:
        shell.kill()
        shell.wait()
        os.close(terminal)


def read_until(terminal: int, wanted: str) -> None:
    """Read what a terminal shows until something is there."""
    shown, deadline = "", time.monotonic() + ENDING_S
    while wanted not in shown:
        readable, _, _ = select.select([terminal], [], [], max(0, deadline - time.monotonic()))
        assert readable, f"{wanted!r} is not in {shown!r}"
        shown += os.read(terminal, 4096).decode()
