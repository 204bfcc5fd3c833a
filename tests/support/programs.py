"""Runs the command line in a process, with a tiny network that takes no time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from lfdn import LFDN, LFDNConfig
from lfdn.weights import save_weights

ENDING_S = 120.0


def tiny_weights(folder: Path) -> Path:
    path = folder / "tiny.safetensors"
    save_weights(LFDN(LFDNConfig(widths=(4, 4, 4, 4, 4), blocks=1)), path, task="derain")
    return path


class Program:
    """A running `lfdn-video live … --json`. A context manager; leaving it ends the process."""

    def __init__(self, folder: Path, *words: str | Path) -> None:
        weights = tiny_weights(folder)
        self._words = [str(word) for word in words]
        self._words += ["--weights", str(weights), "--json"]
        self.events: list[dict[str, Any]] = []

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "lfdn_video", "live", *self._words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def statuses(self) -> Iterator[dict[str, Any]]:
        """Yield status events as they arrive; fail if the program exits."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.events.append(json.loads(line))
            if self.events[-1]["event"] == "status":
                yield self.events[-1]
        raise AssertionError(f"it ended: {self.events[-1:]}")

    def wait_for_frames(self, count: int) -> dict[str, Any]:
        return next(status for status in self.statuses() if status["frames_out"] >= count)

    def stop(self, number: int) -> tuple[int, str]:
        """Send a signal; return the exit code and the output since then, on stdout and stderr."""
        self._process.send_signal(number)
        stdout, stderr = self._process.communicate(timeout=ENDING_S)
        return self._process.returncode, stdout + stderr
