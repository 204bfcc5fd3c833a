"""Time the network alone: all backends on one image, relative to the machine's ceilings.

`suite.py` runs it. Backends take turns within a round, so that other load on the machine affects
all of them; results are medians over the rounds. The first backend is the baseline:

    reference          `lfdn.model` as a user would run it: eager, float32, channels first
    channels last      the same, with weights and image in channels-last format
    default            the engine of `lfdn-video` on this device
    int8               the engine of `--precision int8`
    openvino           float32 in OpenVINO, of the network as `lfdn quantize` rewrites it
    compiled, bfloat16 channels last, with torch.compile, with autocast; or with both

The engines have as many images in flight as in `lfdn-video`; the time is that of all of them
divided by their number. Operations are counted in the reference: a backend that needs fewer reaches
a larger share of the ceiling than it uses, possibly above 100 %.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from statistics import median
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

import lfdn
import lfdn.model
from lfdn.openvino_form import OpenVinoLFDN, convert_to_openvino
from lfdn_video.inference.engine import Engine, load_engine
from lfdn_video.options import InferenceOptions, Task

BACKENDS = ("reference", "channels last", "default", "openvino", "int8")
"""In the order of the tables; `compiled`, `bfloat16` and `bfloat16 compiled` on request."""
REQUIRED_MODULES = {"openvino": ("openvino",), "int8": ("openvino",)}
CPU_ONLY = frozenset(REQUIRED_MODULES)
MATRIX_SIDE, COPY_BYTES, TRIES = 2048, 1 << 28, 5

Restore = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class Backend:
    """Restores a sequence of images `[1, 3, H, W]`, best `at_once` of them."""

    run: Callable[[Sequence[Tensor]], list[Tensor]]
    at_once: int = 1

    @classmethod
    def from_network(cls, restore: Restore) -> "Backend":
        """Wrap a function that restores one image at a time."""
        return cls(lambda images: [restore(image) for image in images])

    @classmethod
    def from_engine(cls, engine: Engine) -> "Backend":
        """Wrap an engine, with as many images in flight as it accepts."""

        def run(images: Sequence[Tensor]) -> list[Tensor]:
            futures = [engine.compute_residual(image) for image in images]
            return [future.result() + image for future, image in zip(futures, images, strict=True)]

        # The engine chooses its lanes with the first image; `max_batches_in_flight` is right then.
        run([torch.rand(1, 3, 32, 32, device=engine.device)])
        return cls(run, max(1, 2 * engine.max_batches_in_flight))


def select_available(names: Sequence[str], device: str) -> list[str]:
    """Select the backends that run on this device with the installed packages."""
    return [
        name
        for name in names
        if all(find_spec(module) for module in REQUIRED_MODULES.get(name, ()))
        and (device == "cpu" or name not in CPU_ONLY)
    ]


def build_backend(name: str, task: Task, device: str) -> Backend:
    """Build the backend of this name, with a task's packaged weights."""
    if name == "default":
        return Backend.from_engine(load_engine(task, options=InferenceOptions(device=device)))
    if name == "int8":
        options = InferenceOptions(device=device, precision="int8")
        return Backend.from_engine(load_engine(task, options=options))
    if name == "openvino":
        form = OpenVinoLFDN(convert_to_openvino(lfdn.load(task)), "f32")
        return Backend.from_network(lambda image: form(image).clamp(0, 1))
    network = lfdn.load(task).eval().to(device)
    layout = torch.contiguous_format if name == "reference" else torch.channels_last
    network = network.to(memory_format=layout)  # type: ignore[call-overload]  # torch
    run: Restore = torch.compile(network, dynamic=False) if "compiled" in name else network
    half = "bfloat16" in name

    def restore(image: Tensor) -> Tensor:
        with (
            torch.inference_mode(),
            torch.autocast(image.device.type, torch.bfloat16, enabled=half),
        ):
            return run(image.contiguous(memory_format=layout)).float().clamp(0, 1)

    return Backend.from_network(restore)


def time_call(work: Callable[[], object], device: str) -> float:
    """Return the seconds of one call; on a GPU, until its work is done."""
    began = time.perf_counter()
    work()
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter() - began


def measure_ceilings(device: str) -> dict[str, float]:
    """Measure GFLOP/s of matrix products and GB/s of copies (read plus written), best of a few."""
    found = {}
    for name, kind in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        matrix = torch.rand(MATRIX_SIDE, MATRIX_SIDE, device=device).to(kind)
        best = min(time_call(lambda x=matrix: x @ x, device) for _ in range(TRIES))  # type: ignore[misc]
        found[f"{name}_gflops"] = round(2 * MATRIX_SIDE**3 / best / 1e9, 1)
    source = torch.ones(COPY_BYTES, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    best = min(time_call(lambda: target.copy_(source), device) for _ in range(TRIES))
    found["copy_gb_per_s"] = round(2 * COPY_BYTES / best / 1e9, 1)
    return found


def count_operations(height: int, width: int) -> int:
    """Count the reference's operations for one image; a multiply-add is two."""
    with FlopCounterMode(display=False) as counter, torch.device("meta"):
        lfdn.LFDN().eval()(torch.empty(1, 3, height, width))
    return int(counter.get_total_flops())


def measure_backends(
    width: int, height: int, names: Sequence[str], *, task: Task, device: str, rounds: int
) -> list[dict[str, Any]]:
    """Measure all backends on one random image; return a row for each."""
    image = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(1)).to(device)
    backends = {name: build_backend(name, task, device) for name in names}
    (expected,) = backends[names[0]].run([image])
    differences = {
        name: float((each.run([image])[0] - expected).abs().max())
        for name, each in backends.items()
    }
    times: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(rounds):
        for name, each in backends.items():
            images = [image] * each.at_once
            total_s = time_call(lambda run=each.run, images=images: run(images), device)  # type: ignore[misc]
            times[name].append(total_s / each.at_once)
    baseline_s, gflop = median(times[names[0]]), count_operations(height, width) / 1e9
    return [
        {
            "width": width,
            "height": height,
            "backend": name,
            "seconds": round(median(times[name]), 4),
            "all_s": [round(each, 4) for each in times[name]],
            "at_once": backends[name].at_once,
            "speed_up": round(baseline_s / median(times[name]), 2),
            "gflops": round(gflop / median(times[name]), 1),
            "largest_difference": round(differences[name], 7),
        }
        for name in names
    ]
