"""The network alone: every backend on a picture, side by side, as a share of what the machine can.

Measured by `suite.py`. Backends take turns within a round, so that whatever else the machine does
meets them all; medians over the rounds are told. The first is what the others are compared with:

    reference          `lfdn.model` as a user would run it: eager, float32, channels first
    channels last      the same, weights and picture channels last in memory
    default            what `lfdn-video` runs on this device
    int8               what `--precision int8` runs
    openvino           float32 by OpenVINO, of the network as `lfdn quantize` rearranges it
    compiled, bfloat16 channels last, by torch.compile, by autocast; or both

Where `lfdn-video` has several pictures under way at a time, so has its backend here, and the time
is that for all of them, divided by their number. The network's operations are those of the
reference; a backend that saves some shows as more of the ceiling than it uses, above 100 % even.
"""

import platform
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

import lfdn
import lfdn.model
from lfdn.int8 import compile_for_cpu
from lfdn_video.inference.engine import Engine, load_engine
from lfdn_video.options import InferenceOptions

BACKENDS = ("reference", "channels last", "default", "openvino", "int8")
"""In the order of the tables; `compiled`, `bfloat16` and `bfloat16 compiled` on request."""
NEEDS = {"openvino": ("openvino", "nncf"), "int8": ("openvino",)}
ON_CPU_ALONE = frozenset(NEEDS)
MATRIX, COPY_BYTES, TRIES = 2048, 1 << 28, 5

Run = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class Backend:
    """What restores pictures `[1, 3, H, W]`, so many at a time."""

    run: Callable[[Sequence[Tensor]], list[Tensor]]
    at_once: int = 1

    @classmethod
    def of(cls, run: Run) -> "Backend":
        """One after the other."""
        return cls(lambda images: [run(image) for image in images])

    @classmethod
    def of_engine(cls, engine: Engine) -> "Backend":
        def run(images: Sequence[Tensor]) -> list[Tensor]:
            in_flight = [engine.compute_residual(image) for image in images]
            return [
                pending.result() + image for pending, image in zip(in_flight, images, strict=True)
            ]

        run([torch.rand(1, 3, 32, 32, device=engine.device)])  # then it knows its lanes
        return cls(run, max(1, 2 * engine.max_batches_in_flight))


def available(names: Sequence[str], device: str) -> list[str]:
    """Those that this device and what is installed can run."""
    return [
        name
        for name in names
        if all(find_spec(module) for module in NEEDS.get(name, ()))
        and (device == "cpu" or name not in ON_CPU_ALONE)
    ]


def backend(name: str, task: str, device: str) -> Backend:
    """The one of that name, on that device."""
    if name == "default":
        return Backend.of_engine(load_engine(task, options=InferenceOptions(device=device)))
    if name == "int8":
        options = InferenceOptions(device=device, precision="int8")
        return Backend.of_engine(load_engine(task, options=options))
    if name == "openvino":
        return Backend.of(_openvino(task))
    network = lfdn.load(task).eval().to(device)
    layout = torch.contiguous_format if name == "reference" else torch.channels_last
    network = network.to(memory_format=layout)  # type: ignore[call-overload]  # torch
    run: Run = torch.compile(network, dynamic=False) if "compiled" in name else network
    half = "bfloat16" in name

    def called(image: Tensor) -> Tensor:
        with (
            torch.inference_mode(),
            torch.autocast(image.device.type, torch.bfloat16, enabled=half),
        ):
            return run(image.contiguous(memory_format=layout)).float().clamp(0, 1)

    return Backend.of(called)


def _openvino(task: str) -> Run:
    import openvino

    from lfdn.calibrate import convert_to_openvino

    core, model, requests = openvino.Core(), convert_to_openvino(lfdn.load(task)), {}

    def called(image: Tensor) -> Tensor:
        padded = lfdn.model.pad_to_multiple(image, 16).contiguous()
        if padded.shape not in requests:
            model.reshape(list(padded.shape))
            requests[padded.shape] = compile_for_cpu(core, model).create_infer_request()
        found: dict[Any, Any] = requests[padded.shape].infer([padded.numpy()])
        change = torch.from_numpy(next(iter(found.values())))
        return (image + change[..., : image.shape[2], : image.shape[3]]).clamp(0, 1)

    return called


def seconds(work: Callable[[], object], device: str) -> float:
    """Of one call, to its end."""
    began = time.perf_counter()
    work()
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter() - began


def ceilings(device: str) -> dict[str, float]:
    """GFLOP/s of matrix products, GB/s of copies (read and written): the best of a few."""
    found = {}
    for name, kind in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        one = torch.rand(MATRIX, MATRIX, device=device).to(kind)
        best = min(seconds(lambda x=one: x @ x, device) for _ in range(TRIES))  # type: ignore[misc]
        found[f"{name}_gflops"] = round(2 * MATRIX**3 / best / 1e9, 1)
    here = torch.ones(COPY_BYTES, dtype=torch.uint8, device=device)
    there = torch.empty_like(here)
    best = min(seconds(lambda: there.copy_(here), device) for _ in range(TRIES))
    found["copy_gb_per_s"] = round(2 * COPY_BYTES / best / 1e9, 1)
    return found


def operations(height: int, width: int) -> int:
    """Of the reference, 2 for a multiply-add."""
    with FlopCounterMode(display=False) as counter, torch.device("meta"):
        lfdn.LFDN().eval()(torch.empty(1, 3, height, width))
    return int(counter.get_total_flops())


def machine() -> dict[str, Any]:
    """What the figures are of."""
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
    )
    cpu = platform.processor() or platform.machine()
    for line in (
        Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else ()
    ):
        if line.startswith("model name"):
            cpu = line.partition(":")[2].strip()
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "commit": commit.stdout.strip(),
        "cpu": cpu,
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "gpu": gpu,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "av": version("av"),
        "openvino": version("openvino") if find_spec("openvino") else None,
    }


def measure(
    width: int, height: int, names: Sequence[str], *, task: str, device: str, rounds: int
) -> list[dict[str, Any]]:
    """A row for each backend."""
    image = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(1)).to(device)
    backends = {name: backend(name, task, device) for name in names}
    (expected,) = backends[names[0]].run([image])
    differences = {
        name: float((each.run([image])[0] - expected).abs().max())
        for name, each in backends.items()
    }
    times: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(rounds):
        for name, each in backends.items():
            images = [image] * each.at_once
            taken_s = seconds(lambda run=each.run, images=images: run(images), device)  # type: ignore[misc]
            times[name].append(taken_s / each.at_once)
    first, gflop = median(times[names[0]]), operations(height, width) / 1e9
    return [
        {
            "width": width,
            "height": height,
            "backend": name,
            "seconds": round(median(times[name]), 4),
            "all_s": [round(each, 4) for each in times[name]],
            "at_once": backends[name].at_once,
            "speed_up": round(first / median(times[name]), 2),
            "gflops": round(gflop / median(times[name]), 1),
            "largest_difference": round(differences[name], 7),
        }
        for name in names
    ]
