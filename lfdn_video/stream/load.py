"""How busy this computer is: its processors, with all programs, and the GPU of the network.

What cannot be measured here is None: psutil and NVIDIA's library belong to the extra `[web]`.
"""

import time
from importlib.util import find_spec

from lfdn_video.inference.devices import measure_gpu_load

INTERVAL_S = 1.0
"""Seconds over which the load is averaged."""


class LoadMeter:
    """Measures the load, at most once a second."""

    def __init__(self) -> None:
        self.device = "cpu"
        """Where the network runs."""
        self._cpu: float | None = None
        self._gpu: float | None = None
        self._due_s = 0.0

    def measure(self) -> tuple[float | None, float | None]:
        """Return the shares of processors and GPU that are busy, 0…1 each, or None."""
        now_s = time.monotonic()
        if now_s >= self._due_s:
            is_first = self._due_s == 0.0
            self._due_s = now_s + INTERVAL_S
            # The first call starts the measurement and returns nothing of use.
            cpu = _measure_cpu_load()
            self._cpu = None if is_first else cpu
            self._gpu = measure_gpu_load(self.device)
        return self._cpu, self._gpu


def _measure_cpu_load() -> float | None:
    """Return the share of the processors that was busy since the last call."""
    if find_spec("psutil") is None:
        return None
    import psutil

    return float(psutil.cpu_percent(None)) / 100
