"""When each stage was at work, as a file for chrome://tracing, Perfetto and Speedscope.

One row a stage, one bar for each stretch of work: what one item (a frame, for most of them) took,
without the time spent waiting in between. Knows nothing of what the stages do; their clocks
(`background.py`) tell it. Everything is kept in memory until `write`, a hundred bytes a bar.

The format is the Trace Event Format's "complete event", times in microseconds.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path

from lfdn_video.errors import OutputError

WorkListener = Callable[[int, float, float], None]
"""Number of the item, beginning and end of a stretch of work, by `time.perf_counter`."""


class Trace:
    """Collects from any thread; `write` when the stages have ended."""

    def __init__(self, path: Path) -> None:
        """Raises OutputError if `path` cannot be written."""
        self._path = path
        self._start_s = time.perf_counter()
        self._stages: list[str] = []
        self._bars: list[tuple[int, int, float, float]] = []
        self.write()

    def listener(self, stage: str) -> WorkListener:
        """For the clock of that stage. Rows are in the order of these calls."""
        row = len(self._stages)
        self._stages.append(stage)

        def listen(item: int, start_s: float, end_s: float) -> None:
            self._bars.append((row, item, start_s, end_s))  # appending is atomic

        return listen

    def write(self) -> None:
        names = [
            {"ph": "M", "name": "thread_name", "pid": 0, "tid": row, "args": {"name": stage}}
            for row, stage in enumerate(self._stages)
        ]
        bars = [
            {
                "ph": "X",
                "name": self._stages[row],
                "pid": 0,
                "tid": row,
                "ts": round(1e6 * (start_s - self._start_s), 1),
                "dur": round(1e6 * (end_s - start_s), 1),
                "args": {"item": item},
            }
            for row, item, start_s, end_s in self._bars
        ]
        try:
            self._path.write_text(json.dumps({"traceEvents": names + bars}) + "\n")
        except OSError as error:
            reason = error.strerror or error
            message = f"{self._path}: cannot be written ({reason}); name another file"
            raise OutputError(message) from error
