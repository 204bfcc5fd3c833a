"""A timeline of the stages, as a file for chrome://tracing, Perfetto and Speedscope.

Each stage is a row, and each stretch of work on one item (usually a frame) is a bar; waiting leaves
a gap. The stages' clocks (`background.py`) report the work; this module knows nothing
of what the stages do. Bars stay in memory until `Trace.save`, about a hundred bytes each; nothing
is written before.

The format is the Trace Event Format's "complete event", times in microseconds.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path

from lfdn_video.files import Inputs, check_target, try_target, write_beside

WorkListener = Callable[[int, float, float], None]
"""Called with an item's number and the start and end of work on it, by `time.perf_counter`."""


class Trace:
    """Collects stretches of work from any thread; call `save` when the stages have ended.

    Args:
        path: the JSON file to write.
        inputs: the files that are never replaced.
        overwrite: replace a file that exists.

    Raises:
        OutputError: `path` cannot be written, exists, or is an input.
    """

    def __init__(
        self, path: Path, *, inputs: Inputs | None = None, overwrite: bool = False
    ) -> None:
        self._path = path
        self._inputs = inputs or Inputs()
        self._overwrite = overwrite
        self._start_s = time.perf_counter()
        self._stages: list[str] = []
        self._bars: list[tuple[int, int, float, float]] = []
        self.notes: dict[str, object] = {}
        """JSON values that are written beside the bars, as the format's `otherData`."""
        # A path that cannot be written fails now, not after hours of work.
        check_target(path, self._inputs, overwrite=overwrite)
        try_target(path)

    def add_stage(self, stage: str) -> WorkListener:
        """Add a row named `stage` below the others and return the listener that fills it."""
        row = len(self._stages)
        self._stages.append(stage)

        def listen(item: int, start_s: float, end_s: float) -> None:
            self._bars.append((row, item, start_s, end_s))  # appending is atomic

        return listen

    def save(self) -> None:
        """Write all bars so far to the file, if there are any.

        Raises:
            OutputError: that fails, or the file has become one that must not be replaced.
        """
        if not self._bars:
            return
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
        content = {"traceEvents": names + bars, "otherData": self.notes}
        check_target(self._path, self._inputs, overwrite=self._overwrite)
        with write_beside(self._path, overwrite=self._overwrite) as file:
            file.write_text(json.dumps(content) + "\n")
