"""The types of the API reach those who install it: by py.typed, wrong calls are refused."""

import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

RIGHT = """
from lfdn_video import LiveOptions, Progress, live, restore

def show(progress: Progress) -> None:
    print(progress.frames_done)

summary = restore("a.mp4", "b.mp4", task="deblur", on_progress=show)
print(summary.frames + 1)
for frame in live(0, task="derain", options=LiveOptions(prefer="quality")):
    print(frame.latency_s)
"""

WRONG = {
    'restore("a.mp4", "b.mp4", task="dehaze")': "arg-type",
    'restore("a.mp4")': "call-arg",
    'restore("a.mp4", "b.mp4", on_progress=lambda done, total: None)': "arg-type",
    'restore("a.mp4", "b.mp4").frame': "attr-defined",
    'load_engine("rain")': "arg-type",
    'LiveOptions(prefer="speed")': "arg-type",
}

OTHERS = ("PIL", "aiohttp", "av", "cv2", "kornia", "numpy", "rich", "safetensors", "torch")
"""Packages that are not looked into, to save time."""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment in which this package is installed; mypy reads no others' types by a path."""
    folder = tmp_path_factory.mktemp("venv")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    scripts = "Scripts" if sys.platform == "win32" else "bin"
    python = folder / scripts / "python"
    site = sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)})
    lines = [str(ROOT), sysconfig.get_path("purelib")]
    Path(site, "installed.pth").write_text("\n".join(lines) + "\n")
    return python


def check(python: Path, folder: Path, source: str) -> list[str]:
    """Check a user's file outside of this repository; return mypy's errors."""
    program = folder / "program.py"
    program.write_text(source)
    config = folder / "mypy.ini"
    skipped = ",".join(f"mypy-{name}.*" for name in OTHERS)
    config.write_text(f"[mypy]\nstrict = true\n[{skipped}]\nfollow_imports = skip\n")
    words = ["--config-file", str(config), "--python-executable", str(python)]
    words += ["--cache-dir", str(python.parents[1] / "cache"), "--no-error-summary"]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *words, str(program)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 1), done.stderr
    return done.stdout.splitlines()


def test_right_calls_are_accepted(python: Path, tmp_path: Path) -> None:
    assert check(python, tmp_path, RIGHT) == []


def test_every_wrong_call_is_refused(python: Path, tmp_path: Path) -> None:
    imports = "from lfdn_video import LiveOptions, load_engine, restore"
    errors = check(python, tmp_path, "\n".join([imports, *WRONG]) + "\n")
    found = {}
    for line in errors:
        _, number, *_ = line.split(":")
        if ": error:" in line:
            found[int(number)] = line.rsplit("[", 1)[1].rstrip("]")
    assert found == dict(enumerate(WRONG.values(), start=2))
