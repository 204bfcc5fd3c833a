"""Runs `derain` over many files in a process, with a tiny network that takes no time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.support.clips import Clip
from tests.support.programs import tiny_weights

ENDING_S = 120.0


def make_card(folder: Path, good: int, bad: int) -> Path:
    """Make nested folders with clips of six frames; some files among them are no videos."""
    for number in range(good + bad):
        path = folder / ("monday", "tuesday/am", "tuesday/pm")[number % 3] / f"clip{number}.mkv"
        path.parent.mkdir(parents=True, exist_ok=True)
        if number % 3 == 1 and number // 3 < bad:
            path.write_text("" if number == 1 else "no video")
        else:
            Clip(pts=range(6)).make(path)
    return folder


class BatchProgram:
    """A running `lfdn-video derain … -o FOLDER --json`. A context manager that ends it."""

    def __init__(self, folder: Path, *words: str | Path, stdin: str = "") -> None:
        self._folder = folder
        self._words = [str(word) for word in words]
        self._stdin = stdin

    def __enter__(self) -> Self:
        if not (weights := self._folder / "tiny.safetensors").exists():
            tiny_weights(self._folder)
        command = (sys.executable, "-m", "lfdn_video", "derain", *self._words)
        self._process = subprocess.Popen(
            [*command, "--weights", str(weights), "--device", "cpu", "--json"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            cwd=self._folder,
        )
        assert self._process.stdin is not None
        with self._process.stdin as stdin:
            stdin.write(self._stdin)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdout, self._process.stderr):
            assert pipe is not None
            pipe.close()

    def events(self, *names: str) -> Iterator[dict[str, Any]]:
        """Yield the events of these names, or all, until the program ends."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            event: dict[str, Any] = json.loads(line)
            if not names or event["event"] in names:
                yield event

    def signal(self, number: int) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    def wait(self) -> tuple[int, str]:
        """Wait for the end. Returns the exit code and stderr; read the events before."""
        assert self._process.stderr is not None
        stderr = self._process.stderr.read()
        return self._process.wait(ENDING_S), stderr


def run_batch(
    folder: Path, *words: str | Path, stdin: str = ""
) -> tuple[int, list[dict[str, Any]], str]:
    """Run to the end. Returns the exit code, the events and stderr."""
    with BatchProgram(folder, *words, stdin=stdin) as program:
        events = list(program.events())
        code, stderr = program.wait()
        return code, events, stderr
