"""The network alone: every backend on every size, side by side, as a share of what the machine can.

    python benchmarks/model.py
    python benchmarks/model.py --size 1280x720 --backend reference --backend default --rounds 9
    python benchmarks/model.py --json benchmarks/results/model_cpu.json

`reference` is `lfdn.model` in plain eager float32, `default` what `lfdn-video` runs on this device.
Backends take turns within a round, so that whatever else the machine does meets them all; medians
over the rounds are told, and their ratio to the reference. The ceilings are measured in the same
run: the fastest float32 and bfloat16 matrix product, and how fast memory is copied. The network's
operations are those of the reference; a backend that saves some shows as more of the ceiling than
it uses.
"""

import json
import platform
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import click
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

import lfdn
from lfdn_video.engine import Engine, load_engine
from lfdn_video.options import InferenceOptions

SIZES = ("640x360", "1280x720", "1920x1080")
BACKENDS = ("reference", "default", "compiled", "bfloat16", "bfloat16 compiled")
MATRIX, COPY_BYTES, TRIES = 2048, 1 << 28, 5
SMOKE_SIZE = "160x96"

Run = Callable[[Tensor], Tensor]


def backend(name: str, task: str, device: str) -> Run:
    """A function of the picture `[1, 3, H, W]` to the restored one, on that device."""
    if name == "default":
        return _engine(load_engine(task, options=InferenceOptions(device=device)))
    network = lfdn.load(task).eval().to(device)
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch
    run: Run = torch.compile(network, dynamic=False) if "compiled" in name else network
    half = "bfloat16" in name

    def called(image: Tensor) -> Tensor:
        with (
            torch.inference_mode(),
            torch.autocast(image.device.type, torch.bfloat16, enabled=half),
        ):
            return run(image).float().clamp(0, 1)

    return called


def _engine(engine: Engine) -> Run:
    return lambda image: engine.residual(image).result() + image


def seconds(run: Run, image: Tensor) -> float:
    """Of one call, to its end."""
    began = time.perf_counter()
    run(image)
    if image.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began


def ceilings(device: str) -> dict[str, float]:
    """GFLOP/s of matrix products, GB/s of copies (read and written): the best of a few."""
    found = {}
    for name, kind in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        one = torch.rand(MATRIX, MATRIX, device=device).to(kind)
        best = min(seconds(lambda x, y=one: x @ y, one) for _ in range(TRIES))  # type: ignore[misc]
        found[f"{name}_gflops"] = round(2 * MATRIX**3 / best / 1e9, 1)
    here = torch.ones(COPY_BYTES, dtype=torch.uint8, device=device)
    there = torch.empty_like(here)
    best = min(seconds(there.copy_, here) for _ in range(TRIES))
    found["copy_gb_per_s"] = round(2 * COPY_BYTES / best / 1e9, 1)
    return found


def operations(height: int, width: int) -> int:
    """Of the reference, 2 for a multiply-add."""
    with FlopCounterMode(display=False) as counter, torch.device("meta"):
        lfdn.LFDN().eval()(torch.empty(1, 3, height, width))
    return int(counter.get_total_flops())


def machine() -> dict[str, object]:
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
        "torch": torch.__version__,
    }


def measure(
    size: str, names: tuple[str, ...], *, task: str, device: str, rounds: int
) -> list[dict[str, object]]:
    """A row for each backend."""
    width, height = map(int, size.split("x"))
    image = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(1))
    image = image.to(device).contiguous(memory_format=torch.channels_last)
    runs = {name: backend(name, task, device) for name in names}
    expected = runs[names[0]](image)
    differences = {name: float((run(image) - expected).abs().max()) for name, run in runs.items()}
    times: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(rounds):
        for name, run in runs.items():
            times[name].append(seconds(run, image))
    first, gflop = median(times[names[0]]), operations(height, width) / 1e9
    return [
        {
            "size": size,
            "backend": name,
            "seconds": round(median(times[name]), 4),
            "speed_up": round(first / median(times[name]), 2),
            "gflops": round(gflop / median(times[name]), 1),
            "largest_difference": round(differences[name], 7),
        }
        for name in names
    ]


@click.command()
@click.option("--size", "sizes", multiple=True, default=SIZES, show_default=True)
@click.option("--backend", "names", multiple=True, default=BACKENDS, show_default=True,
              help="The first is what the others are compared with.")  # fmt: skip
@click.option("--task", default="derain", show_default=True)
@click.option("--device", default="cpu", show_default=True)
@click.option("--rounds", default=7, show_default=True)
@click.option("--smoke", is_flag=True, help="One small picture, once.")
@click.option("--json", "report", type=click.Path(path_type=Path))
def main(
    sizes: tuple[str, ...],
    names: tuple[str, ...],
    task: str,
    device: str,
    rounds: int,
    *,
    smoke: bool,
    report: Path | None,
) -> None:
    """Time the network's backends."""
    if smoke:
        sizes, names, rounds = (SMOKE_SIZE,), ("reference", "default"), 1
    limits = ceilings(device)
    click.echo(f"ceilings: {limits}")
    rows = []
    for size in sizes:
        for row in measure(size, names, task=task, device=device, rounds=rounds):
            rows.append(row)
            kind = "bfloat16" if "bfloat16" in str(row["backend"]) else "float32"
            share = float(str(row["gflops"])) / limits[f"{kind}_gflops"]
            click.echo(
                f"{row['size']:>10} {row['backend']:18} {row['seconds']:8.4f} s  "
                f"x{row['speed_up']:.2f}  {share:4.0%} of the ceiling  "
                f"differs by {row['largest_difference']:.7f}"
            )
    if report is not None:
        told = {"machine": machine(), "ceilings": limits, "rounds": rounds, "rows": rows}
        report.write_text(json.dumps(told, indent=2) + "\n")


if __name__ == "__main__":
    main()
