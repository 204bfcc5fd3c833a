"""Render tables of README.md and docs/benchmarks.md from `results/`.

Speed is from `suite_*.json`, that of a GPU from `gpu.json`, which `gpu.py` writes; rain videos are
from `temporal_a1.json`, `temporal_rainy.json` and `temporal_dry.json`, the temporal stage's cost
from `temporal_cost.json`; what the product says of time from `foresight.json`, `bench.json` and
`live_load.json`.

    python -m benchmarks.tables            # rewrite both files
    python -m benchmarks.tables --check    # exit with 1 if a file differs from the results

Only the text between markers changes. `<!-- speed:DEVICE -->` … `<!-- /speed:DEVICE -->` holds the
short table of the README, `<!-- suite:DEVICE -->` … `<!-- /suite:DEVICE -->` the full tables;
`rain:…`, `cost:stage` and `told:…` stand likewise for the others. What has no results gets a line
that states this.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

import click

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results"
PAGES = (ROOT / "README.md", ROOT / "docs" / "benchmarks.md")
NAMES = {
    "cpu": "CPU",
    "cuda": "GPU",
    "a1": "NTURain a1",
    "stage": "Temporal stage",
    "dry": "Dry clips",
    "rainy": "Clips with rain laid over them",
    "foresight": "Estimates",
    "bench": "`bench`",
    "load": "A load that comes and goes",
}
MODES = {"offline": "`derain`", "delay-1": "as `live --delay 1`", "delay-0": "as `live`"}
BACKEND_LABELS = {
    "reference": "reference: `lfdn.model`, eager, float32",
    "channels last": "reference, channels last",
    "default": "**default**, float32",
    "openvino": "OpenVINO, float32 (not in the product)",
    "int8": "`--precision int8`",
    "compiled": "`torch.compile`, float32",
    "bfloat16": "bfloat16",
    "bfloat16 compiled": "`torch.compile`, bfloat16",
}
STAGES = ("decode", "colour", "model", "encode", "end to end")
NONE = "–"

Report = dict[str, Any]


def load_reports(results: Path = RESULTS) -> dict[str, Report]:
    """Read the reports that exist, by device or by the name of what was measured."""
    paths = {
        "cpu": results / "suite_cpu.json",
        "cuda": results / "gpu.json",
        "a1": results / "temporal_a1.json",
        "stage": results / "temporal_cost.json",
        "dry": results / "temporal_dry.json",
        "rainy": results / "temporal_rainy.json",
        "foresight": results / "foresight.json",
        "bench": results / "bench.json",
        "load": results / "live_load.json",
    }
    return {device: json.loads(p.read_text()) for device, p in paths.items() if p.is_file()}


def render(text: str, reports: dict[str, Report]) -> str:
    """Replace everything between the markers in `text` with tables of `reports`."""

    def replace_block(match: re.Match[str]) -> str:
        kind, device = match[1], match[2]
        block = _render_block(kind, device, reports)
        return f"<!-- {kind}:{device} -->\n{block}\n<!-- /{kind}:{device} -->"

    markers = r"<!-- (speed|suite|rain|cost|told):(\w+) -->\n.*?<!-- /\1:\2 -->"
    return re.sub(markers, replace_block, text, flags=re.DOTALL)


def _render_block(kind: str, device: str, reports: dict[str, Report]) -> str:
    report = reports.get(device)
    if report is None:
        return f"*{NAMES[device]}: not measured yet.*"
    if kind == "rain":
        return render_rain(report) if device == "a1" else render_sequences(report)
    if kind == "cost":
        return f"{render_cost(report['sizes'])}\n\n{_conditions_of_cost(report)}"
    if kind == "told":
        return f"{TOLD[device](report)}\n\n*{_made(report, 'cpu')}.*"
    if device == "cuda":
        return _render_gpu(report) if kind == "speed" else render_sections(report)
    if kind == "speed":
        made = f"{_made(report['machine'], report['device'])}, `python -m benchmarks.suite`"
        return f"{_speed_table(report)}\n\n*{made}.*"
    return "\n\n".join([_conditions(report), _network_table(report), _video_table(report)])


def render_sections(report: Report) -> str:
    """Render the report of `gpu.py`: a table for each section, and what failed."""
    parts = [f"{_gpu(report)}, commit `{report['machine']['commit']}`."]
    for name, rows in report["sections"].items():
        if rows:
            table = [list(rows[0]), ["---"] * len(rows[0]), *(row.values() for row in rows)]
            lines = (_row([str(cell) for cell in row]) for row in table)
            parts.append("\n".join([f"*{name}*", "", *lines]))
        if name in report["failed"]:
            parts.append(f"*{name}*: {report['failed'][name]}")
    return "\n\n".join(parts)


def render_rain(report: Report) -> str:
    """Render a rain video of `temporal.py`: source, network alone, each mode with the stage."""
    rows = report["sequences"]
    shown = {
        "source": rows[0]["input"],
        "`derain --temporal off`": rows[0]["network"],
        **{MODES[row["mode"]]: row["stage"] for row in rows},
    }
    header = ["", "PSNR-Y", "worst frame", "SSIM-Y", "flicker"]
    lines = [_row(header), _row(["---"] * len(header))]
    for name, scores in shown.items():
        decibels = f"{scores['psnr_y']:.2f} dB", f"{scores['worst_psnr_y']:.2f} dB"
        lines.append(_row([name, *decibels, f"{scores['ssim_y']:.3f}", f"{scores['flicker']:.2f}"]))
    return "\n".join([*lines, "", _describe_rain(report)])


def render_sequences(report: Report) -> str:
    """Render sequences of `temporal.py`, a row each: network alone, and with the stage."""
    header = ["PSNR-Y, mean (worst frame)", "source", "network alone", "with the stage"]
    rows = []
    for row in report["sequences"]:
        sides = (row[name] for name in ("input", "network", "stage"))
        shown = (
            NONE if each is None else f"{each['psnr_y']:.2f} ({each['worst_psnr_y']:.2f})"
            for each in sides
        )
        rows.append([row["name"], *shown])
    return f"{_table(header, rows)}\n\n{_describe_rain(report)}"


def _describe_rain(report: Report) -> str:
    frames, commit = report["sequences"][0]["frames"], report["machine"]["commit"]
    return f"*{frames} frames, weights `{report['weights'][:12]}`, commit `{commit}`.*"


def render_cost(sizes: dict[str, Report]) -> str:
    """Render the sizes of `temporal_cost.py`: without the stage, with it, and their ratio."""
    header = ["", "ms off", "ms auto", "ratio", "CPU ms off", "CPU ms auto", "ratio"]
    header += ["added CPU ms", "MiB off", "MiB auto", "changed"]
    lines = [_row(header), _row(["---"] * len(header))]
    for name, size in sizes.items():
        cells = [name, *(size["ms"][side] for side in ("off", "auto")), size["time_ratio"]]
        cells += [*(size["cpu_ms"][side] for side in ("off", "auto")), size["cpu_ratio"]]
        cells += [size["added_cpu_ms"], *(size["peak_mib"][side] for side in ("off", "auto"))]
        lines.append(_row([*map(str, cells), f"{size['changed']} of {size['frames']}"]))
    return "\n".join(lines)


def _table(header: list[str], rows: list[list[str]]) -> str:
    return "\n".join(_row(cells) for cells in (header, ["---"] * len(header), *rows))


def _foresight_table(report: Report) -> str:
    """Render the rows of `foresight.py`."""
    header = ["clip", "frames", "estimated", "took", "error", "cores until then, and after"]
    rows = [
        [
            row["clip"],
            str(row["frames"]),
            *(f"{row[name]:.1f} s" for name in ("estimated_s", "took_s")),
            f"{row['error']:+.1%}",
            f"{row['cores_first']:.2f}, {row['cores_rest']:.2f}",
        ]
        for row in report["rows"]
    ]
    return _table(header, rows)


def _bench_table(report: Report) -> str:
    """Render the rows of `bench.py`."""
    header = ["ms per frame", "`lfdn-video bench`", "suite: model and colour", "ratio"]
    rows = [
        [row["size"], f"{row['bench_ms']:.0f}", f"{row['suite_ms']:.0f}", f"{row['ratio']:.2f}"]
        for row in report["rows"]
    ]
    return _table(header, rows)


def _load_table(report: Report) -> str:
    """Render what `live_load.py` found."""
    header = ["", "after"]
    names = {
        "badge_after_s": "the badge appears (since the load began)",
        "badge_gone_after_s": "it is gone (since the load ended)",
        "temporal_back_after_s": "neighbouring frames are used again",
        "scale_back_after_s": "the scale is as before",
    }
    rows = [
        [words, NONE if report[name] is None else f"{report[name]:.1f} s"]
        for name, words in names.items()
    ]
    scales = f"scale {report['scale_before']:g}, under load at least {report['least_scale']:g}"
    about = f"{report['processes']} busy processes for {report['busy_s']:.0f} s; {scales}"
    return f"{_table(header, rows)}\n\n{about}."


TOLD = {"foresight": _foresight_table, "bench": _bench_table, "load": _load_table}


def _made(machine: Report, device: str) -> str:
    """Say on what, and from what commit, figures were made."""
    cpu = f"{machine['cpu']}, {machine['threads']} cores ({machine['instructions']})"
    name = cpu if device == "cpu" else machine["gpu"]
    return f"{name}, PyTorch {machine['torch']}, commit `{machine['commit']}`"


def _conditions_of_cost(report: Report) -> str:
    machine = report["machine"]
    rounds = ", ".join(f"{name} {row['rounds']}" for name, row in report["sizes"].items())
    return f"{machine['cpu']}, commit `{machine['commit']}`; rounds: {rounds}."


def _render_gpu(report: Report) -> str:
    """Render a row for each size: the network alone as the engine runs it, and whole runs."""
    sections = report["sections"]
    alone = [row for row in sections.get("network", ()) if row["form"] == "engine"]
    lines = [_row(["frames/s", "batch", "network alone", "x264 ultrafast"]), _row(["---"] * 4)]
    for row in alone:
        runs = [
            run["frames/s"]
            for run in sections.get("video", ())
            if (run["size"], run["x264"]) == (row["size"], "ultrafast")
        ]
        whole = str(runs[-1]) if runs else NONE
        lines.append(_row([row["size"], str(row["batch"]), str(row["frames/s"]), whole]))
    return "\n\n".join(["\n".join(lines), f"*{_gpu(report)}.*"])


def _gpu(report: Report) -> str:
    return f"{report['machine']['gpu']}, PyTorch {report['machine']['torch']}"


def _speed_table(report: Report) -> str:
    """Render a row per frame size: the whole run, and the network alone."""
    alone = {(row["name"], row["backend"]): row["seconds"] for row in report["network"]}
    header = ["ms per frame", "end to end", "network alone", "network, int8", "peak memory"]
    lines = [_row(header), _row(["---"] * len(header))]
    for clip in report["clips"]:
        cells = [f"{clip['name']} ({clip['size'].replace('x', '×')})"]
        cells.append(f"{1e3 * clip['median_s']['end to end'] / clip['frames']:.0f}")
        for backend in ("default", "int8"):
            seconds = alone.get((clip["name"], backend))
            cells.append(NONE if seconds is None else f"{1e3 * seconds:.0f}")
        lines.append(_row([*cells, f"{clip['peak_mib']} MiB"]))
    return "\n".join(lines)


def _conditions(report: Report) -> str:
    machine, limits = report["machine"], report["ceilings"]
    return (
        f"{_made(machine, report['device'])}, medians of {report['rounds']} "
        f"interleaved rounds. Ceilings measured in the same run: matrix product "
        f"{limits['float32_gflops']:.0f} GFLOP/s in float32 and {limits['bfloat16_gflops']:.0f} in "
        f"bfloat16, memory copy {limits['copy_gb_per_s']:.0f} GB/s."
    )


def _network_table(report: Report) -> str:
    """Seconds per frame by backend and size, relative to the reference and to the ceiling."""
    rows = report["network"]
    names = list(dict.fromkeys(row["name"] for row in rows))
    backends = list(dict.fromkeys(row["backend"] for row in rows))
    by_cell = {(row["name"], row["backend"]): row for row in rows}
    header = ["network alone, s per frame", *names, "of the float32 ceiling", "largest difference"]
    lines = [_row(header), _row(["---"] * len(header))]
    for backend in backends:
        sizes = [by_cell[name, backend] for name in names]
        cells = [f"{row['seconds']:.3f} (×{row['speed_up']:.2f})" for row in sizes]
        share = max(row["gflops"] for row in sizes) / report["ceilings"]["float32_gflops"]
        difference = max(row["largest_difference"] for row in sizes) * 255
        label = BACKEND_LABELS[backend]
        lines.append(_row([label, *cells, f"{share:.0%}", f"{difference:.3f} / 255"]))
    return "\n".join(lines)


def _video_table(report: Report) -> str:
    """Milliseconds per frame of each stage, and what the whole run needs."""
    header = ["video, ms per frame", *STAGES]
    header += ["÷ sum of stages", "s per million px", "cores busy", "peak memory"]
    lines = [_row(header), _row(["---"] * len(header))]
    for clip in report["clips"]:
        shares = clip["share_of_ceiling"]
        cells = [
            f"{1e3 * clip['median_s'][stage] / clip['frames']:.1f} ({shares[stage]:.0%})"
            for stage in STAGES
        ]
        cells.append(f"{clip['end_to_end_over_sum']:.3f}")
        cells.append(f"{_seconds_per_million_px(clip):.3f}")
        cells += [f"{clip['cores_busy']:.0%}", f"{clip['peak_mib']} MiB"]
        lines.append(_row([clip["name"], *cells]))
    return "\n".join(lines)


def _seconds_per_million_px(clip: dict[str, Any]) -> float:
    width, height = map(int, clip["size"].split("x"))
    seconds = clip["median_s"]["end to end"] / clip["frames"]
    return float(seconds / (width * height / 1e6))


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


@click.command()
@click.option("--check", is_flag=True, help="Write nothing; exit with 1 if a table is stale.")
def main(*, check: bool) -> None:
    """Write the tables of README.md and docs/benchmarks.md."""
    reports = load_reports()
    stale = False
    for page in PAGES:
        before = page.read_text(encoding="utf-8")
        after = render(before, reports)
        stale = stale or before != after
        if not check:
            page.write_text(after, encoding="utf-8")
    if check:
        sys.exit(stale)


if __name__ == "__main__":
    main()
