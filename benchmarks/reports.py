"""Parts that the reports of several benchmarks share: the machine, peak memory, JSON files."""

import json
import platform
import resource
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch


def write_json(path: Path | None, report: Any, *, indent: int = 2) -> None:
    """Write a report as JSON; do nothing without a path."""
    if path is not None:
        path.write_text(json.dumps(report, indent=indent) + "\n", encoding="utf-8")


def describe_machine() -> dict[str, Any]:
    """Collect the commit, the hardware and the versions that figures depend on."""
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    cpu = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    for line in cpuinfo.read_text().splitlines() if cpuinfo.exists() else ():
        if line.startswith("model name"):
            cpu = line.partition(":")[2].strip()
    return {
        "commit": commit.stdout.strip(),
        "cpu": cpu,
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "av": _find_version("av"),
        "openvino": _find_version("openvino"),
    }


def _find_version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def measure_peak_bytes() -> int:
    """Return the peak resident memory of this process.

    Linux's `getrusage` starts with the peak of the parent process, so `/proc` comes first.
    """
    status = Path("/proc/self/status")
    for line in status.read_text().splitlines() if status.exists() else ():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) << 10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak << 10
