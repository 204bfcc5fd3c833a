"""Devices: lists them, chooses a device and a precision, and measures free memory.

Knows nothing of networks; the runners in `cpu.py`, `cuda.py` and `mps.py` use the devices.
"""

import os
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import torch

from lfdn.openvino_form import has_fast_bfloat16
from lfdn_video.errors import DeviceError, DeviceMemoryError, OptionError
from lfdn_video.options import ResolvedPrecision

FALLBACK_FREE_BYTES = 4 << 30
"""Assumed free memory where the system does not report it."""

NO_LIMIT_BYTES = 1 << 62


@dataclass(frozen=True, slots=True)
class DeviceInfo:
    """A device of this machine."""

    name: str
    """Name for `choose_device`, such as `cuda:0`."""
    description: str
    """Text for display, such as `NVIDIA H100, 80 GiB`."""


def list_devices() -> tuple[DeviceInfo, ...]:
    """Return this machine's devices, the preferred one first and the CPU last."""
    devices = []
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            properties = torch.cuda.get_device_properties(index)
            description = f"{properties.name}, {properties.total_memory / (1 << 30):.0f} GiB"
            devices.append(DeviceInfo(f"cuda:{index}", description))
    if torch.backends.mps.is_available():
        devices.append(DeviceInfo("mps", "Apple GPU"))
    devices.append(DeviceInfo("cpu", f"{torch.get_num_threads()} threads"))
    return tuple(devices)


def choose_device(name: str) -> torch.device:
    """Find a device by its name.

    Args:
        name: `cpu`, `cuda`, `cuda:N`, `mps`, or `auto`, the first of `list_devices`.

    Returns:
        The device; for `cuda`, the first one.

    Raises:
        DeviceError: this machine has no such device.
        OptionError: the name is not that of any device.
    """
    if name == "auto":
        return torch.device(list_devices()[0].name)
    kind, _, index = name.partition(":")
    if kind not in ("cpu", "cuda", "mps") or (index and not index.isdecimal()):
        raise OptionError(f"device: {name!r} is none of auto, cpu, cuda, cuda:N, mps")
    if kind == "cuda":
        return _cuda_device(int(index or 0))
    if kind == "mps" and not torch.backends.mps.is_available():
        raise DeviceError("mps: this machine has no such device; use cpu")
    return torch.device(kind)


def choose_precision(name: str, device: torch.device) -> ResolvedPrecision:
    """Find a precision by its name.

    Args:
        name: a `ResolvedPrecision`, or `auto`: float16 on CUDA, float32 elsewhere.
        device: the device to compute on.

    Returns:
        The precision, with `auto` resolved.

    Raises:
        OptionError: there is no such precision, or the device does not support it.
    """
    if name == "auto":
        return "float16" if device.type == "cuda" else "float32"
    choices = get_args(ResolvedPrecision)
    if name not in choices:
        raise OptionError(f"precision: {name!r} is none of auto, {', '.join(choices)}")
    precision: ResolvedPrecision = next(choice for choice in choices if choice == name)
    if precision == "int8" and device.type != "cpu":
        raise OptionError("precision: int8 is for the CPU alone; use float16, or the device cpu")
    if precision == "float16" and device.type == "cpu":
        raise OptionError("precision: float16 is not for the CPU; use float32 or bfloat16")
    if precision == "bfloat16" and device.type == "cuda" and not torch.cuda.is_bf16_supported():
        raise OptionError("precision: this CUDA device has no bfloat16; use float16 or float32")
    return precision


def count_threads() -> int:
    """Return the number of PyTorch's threads, to load a network in another thread later."""
    return torch.get_num_threads()


def is_fastest_in_bfloat16(device: torch.device) -> bool:
    """Tell whether a device is a CPU that is fastest in bfloat16, by OpenVINO."""
    return device.type == "cpu" and has_fast_bfloat16()


def free_cuda_bytes(device: torch.device) -> int:
    """Return the bytes that can still be allocated on a CUDA device."""
    free, _ = torch.cuda.mem_get_info(device)
    # PyTorch caches freed memory for its next allocations; the driver counts it as used.
    cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return int(free + cached)


def measure_gpu_load(name: str) -> float | None:
    """Return the share of the last moments in which a CUDA device was busy.

    Args:
        name: its name, such as `cuda:0`.

    Returns:
        A share, 0…1; None for other devices, and where NVIDIA's library for it is missing.
    """
    if not name.startswith("cuda"):
        return None
    try:
        return torch.cuda.utilization(torch.device(name)) / 100
    except (ImportError, RuntimeError):  # of NVML, too
        return None


def free_system_bytes() -> int:
    """Return the free memory of the machine or of this container, in bytes, whichever is less."""
    return min(_free_machine_bytes(), _free_cgroup_bytes())


@contextmanager
def explain_out_of_memory(device: torch.device) -> Generator[None]:
    """Turn PyTorch's out-of-memory errors into one that says what helps.

    Raises:
        DeviceMemoryError: an allocation failed within the block.
    """
    try:
        yield
    except RuntimeError as error:
        first_line = str(error).partition("\n")[0]
        # The CPU's allocator has no exception type of its own.
        if isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator" in first_line:
            raise DeviceMemoryError(f"{device}: out of memory ({first_line})") from error
        raise
    except MemoryError as error:  # of OpenVINO
        raise DeviceMemoryError(f"{device}: out of memory") from error


def _cuda_device(index: int) -> torch.device:
    if not torch.cuda.is_available():
        built = "" if torch.version.cuda else f" (torch {torch.__version__} is built without CUDA)"
        raise DeviceError(
            f"cuda: no CUDA device can be used{built}; use cpu, or see docs/install.md"
        )
    count = torch.cuda.device_count()
    if index >= count:
        raise DeviceError(f"cuda:{index}: no such device; there are cuda:0 to cuda:{count - 1}")
    return torch.device("cuda", index)


def _free_machine_bytes() -> int:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            # Unlike SC_AVPHYS_PAGES, this includes caches, which the kernel frees on demand.
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) << 10
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):  # not on this system
        return FALLBACK_FREE_BYTES


def _free_cgroup_bytes() -> int:
    """Return the bytes left below the container's own limit (cgroup 2), if it has one."""
    group = Path("/sys/fs/cgroup")
    try:
        limit = int((group / "memory.max").read_text())
        used = int((group / "memory.current").read_text())
        details = (line.split() for line in (group / "memory.stat").read_text().splitlines())
        caches = sum(int(value) for key, value in details if key == "inactive_file")
    except (OSError, ValueError):  # no such group, or "max"
        return NO_LIMIT_BYTES
    return limit - used + caches
