"""What shells complete."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete

from lfdn_video.cli import main


def complete(*words: str) -> list[tuple[str, str]]:
    """Complete the last word; return types and values."""
    shell = ShellComplete(main, {}, "lfdn-video", "_LFDN_VIDEO_COMPLETE")
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
        ("live", "cl"),
        ("derain", "a.mp4", "-o", "cl"),
        ("derain", "--weights", "cl"),
        ("live", "--record", "cl"),
    ],
)
def test_names_of_files_are_completed(words: tuple[str, ...]) -> None:
    assert complete(*words) == [("file", "cl")]


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
