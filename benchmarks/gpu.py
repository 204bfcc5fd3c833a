"""Measure the network on a CUDA GPU, in under four minutes; see `suite.py --device cuda`.

    python -m benchmarks.gpu --output /tmp/gpu            # all sections
    python -m benchmarks.gpu --output /tmp/gpu --quick    # a minute: 720p, the network alone
    python -m benchmarks.gpu --smoke                      # check that it runs; figures mean nothing

Prints as it goes, and after each section writes `gpu.json` and `gpu.md` to the folder. A section
that fails is told, and the others go on. Times are of the GPU, medians of five rounds. Shares are
of the fastest product of matrices in float16, by the operations that `lfdn.model` counts: padding
makes more of them, folding fewer.

    ceilings    product of matrices, copy
    network     eager as written, rearranged, in a graph, and as the engine runs it; peak memory
    parts       entry, encoder, blocks, fusion and decoder, each in a graph of its own
    variants    other paddings, chunks, no fused ReLU, two graphs side by side
    kernels     the slowest kernels of a frame, by PyTorch's profiler
    frames      planes in memory to planes in memory, by the engine and the scheduler
    precision   float16 against float32 on rainy pictures with clean ones
    video       whole runs, where PyAV is
"""

import gc
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, cast

import click
import cv2
import torch
from torch import Tensor

import lfdn
from benchmarks.model import count_operations, time_call
from benchmarks.reports import describe_machine, write_json
from benchmarks.tables import NONE, render_sections
from lfdn import cuda_layers, metrics
from lfdn.cuda import CudaLFDN, PaddedLFDN, optimize_for_cuda
from lfdn.padded import make_entry_input
from lfdn_video.inference.colour import PlaneConverter
from lfdn_video.inference.devices import choose_device
from lfdn_video.inference.engine import Engine, load_engine
from lfdn_video.inference.graphs import CudaRecorder
from lfdn_video.inference.runner import Future
from lfdn_video.inference.scheduler import restore_frames
from lfdn_video.options import InferenceOptions, Temporal

ROOT = Path(__file__).parent.parent
RAIN100L = ROOT / "shared" / "data" / "rain100l"
SIZES = {"720p": (720, 1280), "1080p": (1080, 1920)}
BATCHES = (1, 4)
SMOKE_SIZES = {"tiny": (64, 96)}
ROUNDS, ROUND_S = 5, 0.08
PICTURES = 20
KERNELS = 15
FRAMES = {"720p": 600, "1080p": 300, "tiny": 24}
PRESETS = ("ultrafast", "medium")
TEMPORAL: tuple[Temporal, ...] = ("off", "auto")

Work = Callable[[], object]
Row = dict[str, Any]


@dataclass
class Bench:
    """What the sections share."""

    device: torch.device
    sizes: dict[str, tuple[int, int]]
    batches: tuple[int, ...]
    network: lfdn.LFDN
    pictures: Path
    half: torch.dtype
    """Type of half precision."""
    began: float = field(default_factory=time.perf_counter)
    peak_flops: float = float("nan")
    """Operations per second of the fastest product of matrices."""
    record_s: float = 0.0
    """Seconds that the last recording took."""

    @property
    def on_gpu(self) -> bool:
        """False in a smoke test."""
        return self.device.type == "cuda"

    def say(self, text: str) -> None:
        """Print a line with the time since the start."""
        click.echo(f"{time.perf_counter() - self.began:6.1f} s  {text}")

    def make_images(self, name: str, batch: int) -> Tensor:
        """Make a batch of random images of a size of this name."""
        torch.manual_seed(1)
        return torch.rand(batch, 3, *self.sizes[name], device=self.device)

    def time(self, work: Work) -> float:
        """Return the seconds of one call, on the GPU."""
        if not self.on_gpu:
            began = time.perf_counter()
            work()
            return time.perf_counter() - began
        work()
        count = max(3, min(200, int(ROUND_S / max(self._time_round(work, 3), 1e-5))))
        return median(self._time_round(work, count) for _ in range(ROUNDS))

    def record(self, work: Callable[[], Tensor], *, time_kernels: bool = True) -> Work:
        """Record `work` as a CUDA graph; in a smoke test, return it."""
        if not self.on_gpu:
            return work
        stream = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]  # torch
        recorder = CudaRecorder(stream, is_half=lambda: True, time_kernels=time_kernels)
        torch.cuda.synchronize()
        began = time.perf_counter()
        with torch.cuda.stream(stream):
            recorded = recorder.record(lambda: (work(),))
        torch.cuda.synchronize()
        self.record_s = time.perf_counter() - began

        def replay() -> None:  # it keeps the results, whose memory belongs to the graph
            recorded.replay()

        return replay

    @contextmanager
    def autocast(self) -> Iterator[None]:
        """Compute in half precision."""
        with torch.autocast(self.device.type, self.half, cache_enabled=False):
            yield

    def reset(self) -> None:
        """Free memory, and forget its peak."""
        gc.collect()
        if self.on_gpu:
            torch.cuda.synchronize()
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()

    def measure_peak_bytes(self) -> int:
        """Return the peak of allocated memory since `reset`."""
        return torch.cuda.max_memory_allocated() if self.on_gpu else 0

    def _time_round(self, work: Work, count: int) -> float:
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        begin.record()
        for _ in range(count):
            work()
        end.record()
        torch.cuda.synchronize()
        return float(begin.elapsed_time(end)) / count / 1e3


def measure_ceilings(bench: Bench) -> Iterator[Row]:
    """Measure the fastest product of matrices and the fastest copy."""
    side = 8192 if bench.on_gpu else 256
    left, right = (torch.rand(side, side, device=bench.device).to(bench.half) for _ in range(2))
    seconds = bench.time(lambda: left @ right)
    bench.peak_flops = 2 * side**3 / seconds
    source = torch.ones(1 << (30 if bench.on_gpu else 20), dtype=torch.uint8, device=bench.device)
    target = torch.empty_like(source)
    copied = 2 * source.numel() / bench.time(lambda: target.copy_(source))
    yield {"TFLOP/s": round(bench.peak_flops / 1e12, 1), "GB/s": round(copied / 1e9)}


def measure_network(bench: Bench) -> Iterator[Row]:
    """Measure the network alone, in half precision."""
    reference = bench.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimized = optimize_for_cuda(bench.network)
    for name in bench.sizes:
        for batch in bench.batches:
            images = bench.make_images(name, batch)
            for form, network in (("as written", reference), ("rearranged", optimized)):
                rows = _measure_form(bench, name, batch, form, lambda: network(images))  # noqa: B023
                yield from rows
            with Engine(optimized, device=bench.device, precision=_precision(bench)) as engine:
                pending: deque[Future[Tensor]] = deque()

                def restore_one() -> None:  # with one in flight, as in a run
                    pending.append(engine.compute_residual(images))  # noqa: B023
                    if len(pending) > 1:  # noqa: B023
                        pending.popleft().result()  # noqa: B023

                yield _network_row(bench, name, batch, "engine", restore_one)


def _measure_form(
    bench: Bench, name: str, batch: int, form: str, work: Callable[[], Tensor]
) -> Iterator[Row]:
    """Measure a form of the network, eager and in graphs."""
    with bench.autocast():
        rows = [_network_row(bench, name, batch, f"{form}, eager", work)]
        for how, time_kernels in (("cuDNN's rules", False), ("timed kernels", True)):
            if time_kernels and form == "as written":
                continue
            graph = bench.record(work, time_kernels=time_kernels)
            rows.append(_network_row(bench, name, batch, f"{form}, graph, {how}", graph))
            rows[-1]["record s"] = round(bench.record_s, 2)
            del graph
            bench.reset()
    yield from rows


def _network_row(bench: Bench, name: str, batch: int, form: str, work: Work) -> Row:
    bench.reset()
    before = bench.measure_peak_bytes()
    seconds = bench.time(work) / batch
    height, width = bench.sizes[name]
    flops = count_operations(height, width) / seconds
    return {
        "size": name,
        "batch": batch,
        "form": form,
        "ms a frame": round(1e3 * seconds, 3),
        "frames/s": round(1 / seconds, 1),
        "TFLOP/s": round(flops / 1e12, 1),
        "share": round(flops / bench.peak_flops, 3),
        "record s": NONE,
        "bytes/px": round((bench.measure_peak_bytes() - before) / (batch * height * width)),
    }


def measure_parts(bench: Bench) -> Iterator[Row]:
    """Measure the parts of the rearranged network, each in a graph of its own."""
    net = PaddedLFDN(bench.network.cpu(), bench.half).to(bench.device)
    bench.network.to(bench.device)
    image = bench.make_images(next(iter(bench.sizes)), 1)
    f1 = net.entry(image).clone()
    f2 = net.res_2(net.down_2(f1))
    f3 = net.res_3(net.down_3(f2))
    f4 = net.res_4(net.down_4(f3))
    f3 = net.fuse_3(net.up_4(f4, f3))
    f2 = net.up_3(f3, f2)
    x = net.fuse_2(f2)
    outputs = [x := block(x) for block in net.blocks]
    fused = net.fusion(outputs)
    large = net.up(net.first(fused))
    second = net.second(large)
    residual = net.tail(second)
    block = cast("cuda_layers.Block", net.blocks[0])
    coarse = block.coarse_1(x)
    u = torch.cat([x, coarse, coarse, coarse], dim=1).permute(0, 2, 3, 1).contiguous()
    gram = cuda_layers.compute_gram(u, first=block.coarse_1.get_buffer("bias").numel())
    parts: dict[str, Callable[[], Tensor]] = {
        "entry: input": lambda: make_entry_input(image, bench.half),
        "entry": lambda: net.entry(image),
        "down_2": lambda: net.down_2(f1),
        "res_2": lambda: net.res_2(x),
        "down_3, res_3": lambda: net.res_3(net.down_3(f2)),
        "down_4, res_4": lambda: net.res_4(net.down_4(f3)),
        "up_4, fuse_3": lambda: net.fuse_3(net.up_4(f4, f3)),
        "up_3": lambda: net.up_3(f3, f2),
        "fuse_2": lambda: net.fuse_2(f2),
        "a block": lambda: block(x),
        "a block: Gram": lambda: cuda_layers.compute_gram(u, first=coarse.shape[1]),
        "a block: algebra": lambda: block.algebra(gram, u.shape[1] * u.shape[2])[0],
        "fusion": lambda: net.fusion(outputs),
        "first": lambda: net.first(fused),
        "up": lambda: net.up(fused),
        "second": lambda: net.second(large),
        "tail": lambda: net.tail(second),
        "shuffle and add": lambda: net.shuffle_and_add(residual, image),
    }
    for name, work in parts.items():
        yield {"part": name, "us": round(1e6 * bench.time(bench.record(work)), 1)}


def measure_variants(bench: Bench) -> Iterator[Row]:
    """Measure other choices for the rearranged network, in a graph."""
    name = next(iter(bench.sizes))
    image, cpu = bench.make_images(name, 1), bench.network.cpu()

    def build(align: int | None = None) -> PaddedLFDN:
        return PaddedLFDN(cpu, bench.half, align=align).to(bench.device)

    def measure(what: str, net: PaddedLFDN) -> Row:
        seconds = bench.time(bench.record(lambda: net(image)))
        return {"variant": what, "ms": round(1e3 * seconds, 3), "frames/s": round(1 / seconds, 1)}

    yield measure("as it is", build())
    for align in (8, 16, 32, 64):
        yield measure(f"padded to multiples of {align}", build(align))
    chunks = cuda_layers.GRAM_CHUNKS
    for cuda_layers.GRAM_CHUNKS in (16, 32):
        yield measure(f"Gram in {cuda_layers.GRAM_CHUNKS} chunks", build())
    cuda_layers.GRAM_CHUNKS = chunks
    plain = build()
    for part in plain.modules():
        if isinstance(part, cuda_layers.ReluConv):
            part.keep_nan = True
    yield measure("ReLU by PyTorch", plain)
    if bench.on_gpu:
        yield _measure_side_by_side(bench, build(), image)
    bench.network.to(bench.device)


def _measure_side_by_side(bench: Bench, net: PaddedLFDN, image: Tensor) -> Row:
    """Replay two graphs on two streams, one image each."""
    graphs = [bench.record(lambda: net(image)) for _ in range(2)]
    streams = [torch.cuda.Stream(bench.device) for _ in graphs]  # type: ignore[no-untyped-call]

    def both() -> None:
        current = torch.cuda.current_stream()
        for graph, stream in zip(graphs, streams, strict=True):
            stream.wait_stream(current)
            with torch.cuda.stream(stream):
                graph()
        for stream in streams:
            current.wait_stream(stream)

    seconds = bench.time(both) / 2
    return {
        "variant": "two graphs side by side, a frame",
        "ms": round(1e3 * seconds, 3),
        "frames/s": round(1 / seconds, 1),
    }


def measure_kernels(bench: Bench) -> Iterator[Row]:
    """Profile the rearranged network in a graph."""
    from torch.profiler import ProfilerActivity, profile

    image = bench.make_images(next(iter(bench.sizes)), 1)
    optimized, frames = optimize_for_cuda(bench.network), 5 if bench.on_gpu else 1
    with bench.autocast():
        graph = bench.record(lambda: optimized(image))
        kind = ProfilerActivity.CUDA if bench.on_gpu else ProfilerActivity.CPU
        with profile(activities=[kind]) as found:
            for _ in range(frames):
                graph()
            if bench.on_gpu:
                torch.cuda.synchronize()

    def get_us(entry: Any) -> float:
        total = entry.self_device_time_total if bench.on_gpu else entry.self_cpu_time_total
        return float(total) / frames

    entries = sorted(found.key_averages(), key=get_us, reverse=True)
    total_us, count = sum(map(get_us, entries)), sum(entry.count for entry in entries)
    yield {"us": round(total_us, 1), "calls": count // frames, "kernel": "all"}
    for entry in entries[:KERNELS]:
        yield {
            "us": round(get_us(entry), 1),
            "calls": round(entry.count / frames, 1),
            "kernel": entry.key[:110],
        }


def measure_frames(bench: Bench) -> Iterator[Row]:
    """Measure frames from memory to memory: all that a run does but decoding and encoding."""
    from tests.support.fakes import noise_frames, video_info

    for name, (height, width) in bench.sizes.items():
        info = video_info(height=height, width=width)
        few, count = noise_frames(info, 8), FRAMES[name]
        for batch in ("auto", 1):
            options = InferenceOptions(device=str(bench.device), batch=cast("Any", batch))
            with load_engine("derain", options=options) as engine:
                for run in ("first", "second"):
                    source = (few[number % 8] for number in range(count))
                    began = time.perf_counter()
                    done = sum(
                        1 for _ in restore_frames(source, PlaneConverter(info), engine, options)
                    )
                    seconds = time.perf_counter() - began
                    yield {
                        "size": name,
                        "batch": batch,
                        "run": run,
                        "frames": done,
                        "ms a frame": round(1e3 * seconds / done, 3),
                        "frames/s": round(done / seconds, 1),
                    }


def measure_precision(bench: Bench) -> Iterator[Row]:
    """Measure PSNR-Y of both precisions on the first pictures of Rain100L."""
    rainy = sorted((bench.pictures / "rainy").iterdir())[:PICTURES]
    if not rainy:
        raise FileNotFoundError(f"{bench.pictures}: no pictures; use --pictures")
    sums = {"float32": 0.0, "half": 0.0}
    optimized = CudaLFDN(bench.network)
    for path in rainy:
        clean = next((bench.pictures / "clean").glob(f"{path.stem.replace('rain', 'norain')}.*"))
        image, expected = (_read_picture(each).to(bench.device) for each in (path, clean))
        for kind in sums:
            dtype = bench.half if kind == "half" else torch.float32
            form = optimized.get_form(image.device, dtype)
            restored = metrics.round_to_8_bit(form(image))
            sums[kind] += float(metrics.psnr(metrics.luma(restored), metrics.luma(expected)))
    means = {f"{kind}, dB": round(total / len(rainy), 4) for kind, total in sums.items()}
    difference = (sums["half"] - sums["float32"]) / len(rainy)
    yield {"pictures": len(rainy), **means, "difference, dB": round(difference, 4)}


def _read_picture(path: Path) -> Tensor:
    read = cv2.imread(str(path))
    assert read is not None, path
    return torch.from_numpy(read[..., ::-1].copy()).permute(2, 0, 1)[None].float() / 255


def measure_video(bench: Bench) -> Iterator[Row]:
    """Measure whole runs on a scaled copy of the sample, and their stages alone: needs PyAV."""
    import tempfile

    from benchmarks.clips import SAMPLE, scale_clip
    from benchmarks.stages import StageBench
    from lfdn_video.options import SpanOptions

    device = str(bench.device)
    options = InferenceOptions(device=device)
    for name, (height, width) in bench.sizes.items():
        count = FRAMES[name] // 2
        with (
            tempfile.TemporaryDirectory() as made,
            load_engine("derain", options=options) as engine,
        ):
            folder = Path(made)
            clip = scale_clip(SAMPLE, folder / "clip.mp4", (width, height), count)
            for preset in PRESETS:
                runs = StageBench(clip, engine, options, SpanOptions(), folder, preset)
                stages = {
                    "decode": runs.decode,
                    "network": runs.network,
                    "temporal": runs.refine,
                    "encode": runs.encode,
                }
                alone = {each: count / time_call(work, device) for each, work in stages.items()}
                for temporal in TEMPORAL:
                    slowest = min(
                        alone[each] for each in alone if (each, temporal) != ("temporal", "off")
                    )
                    began = time.perf_counter()
                    bottleneck = runs.end_to_end(temporal).bottleneck
                    rate = count / (time.perf_counter() - began)
                    yield {
                        "size": name,
                        "x264": preset,
                        "temporal": temporal,
                        **{f"{each} alone": round(alone[each], 1) for each in alone},
                        "frames/s": round(rate, 1),
                        "of the slowest": round(rate / slowest, 3),
                        "bottleneck": bottleneck,
                    }


SECTIONS: dict[str, Callable[[Bench], Iterator[Row]]] = {
    "ceilings": measure_ceilings,
    "network": measure_network,
    "parts": measure_parts,
    "variants": measure_variants,
    "kernels": measure_kernels,
    "frames": measure_frames,
    "precision": measure_precision,
    "video": measure_video,
}
QUICK = ("ceilings", "network", "parts", "kernels", "frames")


def run_sections(bench: Bench, names: tuple[str, ...], output: Path | None) -> dict[str, Any]:
    """Run sections, and write what there is after each."""
    report: dict[str, Any] = {"machine": describe_machine(), "sections": {}, "failed": {}}
    for name in names:
        rows: list[Row] = []
        report["sections"][name] = rows
        try:
            with torch.inference_mode():
                for row in SECTIONS[name](bench):
                    rows.append(row)
                    bench.say(f"{name}: " + ", ".join(f"{k} {v}" for k, v in row.items()))
        except Exception as error:  # noqa: BLE001 - the other sections are worth their time
            report["failed"][name] = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
            bench.say(f"{name}: {report['failed'][name]}")
        bench.reset()
        if output is not None:
            output.mkdir(parents=True, exist_ok=True)
            write_json(output / "gpu.json", report, indent=1)
            (output / "gpu.md").write_text(render_sections(report), encoding="utf-8")
    return report


def _precision(bench: Bench) -> Any:
    return "float16" if bench.on_gpu else "bfloat16"


def measure(
    device: str,
    output: Path | None,
    *,
    quick: bool = False,
    smoke: bool = False,
    names: tuple[str, ...] = (),
    pictures: Path = RAIN100L,
    half: str | None = None,
) -> dict[str, Any]:
    """Measure sections on a device; return the report, and write it to a folder, if given."""
    chosen = choose_device(device)
    sizes = SMOKE_SIZES if smoke else {"720p": SIZES["720p"]} if quick else SIZES
    # CPUs compute in bfloat16; in float16 they take minutes, but tell its rounding.
    half = half or ("float16" if chosen.type == "cuda" else "bfloat16")
    network = lfdn.load("derain").eval().to(chosen)
    bench = Bench(chosen, sizes, BATCHES, network, pictures, getattr(torch, half))
    names = names or (QUICK if quick else tuple(SECTIONS))
    if "ceilings" not in names:
        names = ("ceilings", *names)
    report = run_sections(bench, names, output)
    bench.say("done" if not report["failed"] else f"failed: {', '.join(report['failed'])}")
    return report


@click.command()
@click.option("--device", help="Device.  [default: cuda, with --smoke cpu]")
@click.option("--output", type=click.Path(path_type=Path), help="Folder for gpu.json and gpu.md.")
@click.option("--quick", is_flag=True, help="720p, the most important sections: one minute.")
@click.option("--smoke", is_flag=True, help="Check that it runs: a tiny size.")
@click.option(
    "--section",
    "names",
    multiple=True,
    type=click.Choice(list(SECTIONS)),
    help="Section; may be repeated.  [default: all]",
)
@click.option(
    "--pictures",
    type=click.Path(path_type=Path),
    default=RAIN100L,
    help="Folder of Rain100L, with `rainy` and `clean`.",
)
@click.option(
    "--half",
    type=click.Choice(["float16", "bfloat16"]),
    help="Half precision.  [default: float16; bfloat16 on a CPU]",
)
def main(
    device: str | None,
    output: Path | None,
    names: tuple[str, ...],
    pictures: Path,
    half: str | None,
    *,
    quick: bool,
    smoke: bool,
) -> None:
    """Measure the network on a GPU."""
    device = device or ("cpu" if smoke else "cuda")
    measure(device, output, quick=quick, smoke=smoke, names=names, pictures=pictures, half=half)


if __name__ == "__main__":
    main()
