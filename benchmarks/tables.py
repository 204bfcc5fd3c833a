"""The README's tables of speed, from `results/suite_*.json`: between their markers, nothing else.

    python -m benchmarks.tables            # rewrite README.md
    python -m benchmarks.tables --check    # end with 1 if it does not say what the results say

A marker is `<!-- suite:NAME -->`, its end `<!-- /suite:NAME -->`. A device without results gets a
line that says so.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

import click

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results"
DEVICES = {"cpu": "CPU", "cuda": "GPU"}
SAYS = {
    "reference": "the reference: `lfdn.model`, eager, float32",
    "channels last": "the same, channels last in memory",
    "default": "**default**, float32",
    "openvino": "OpenVINO, float32 (not in the product)",
    "int8": "`--precision int8`",
    "compiled": "`torch.compile`, float32",
    "bfloat16": "bfloat16",
    "bfloat16 compiled": "`torch.compile`, bfloat16",
}
STAGES = ("decode", "colour", "model", "encode", "end to end")


def load(results: Path = RESULTS) -> dict[str, dict[str, Any]]:
    """The reports that are there, by device."""
    paths = {device: results / f"suite_{device}.json" for device in DEVICES}
    return {device: json.loads(p.read_text()) for device, p in paths.items() if p.is_file()}


def rendered(text: str, reports: dict[str, dict[str, Any]]) -> str:
    """`text` with what is between its markers made anew."""

    def block(match: re.Match[str]) -> str:
        name = match[1]
        return f"<!-- suite:{name} -->\n{_block(name, reports)}\n<!-- /suite:{name} -->"

    return re.sub(r"<!-- suite:(\w+) -->\n.*?<!-- /suite:\1 -->", block, text, flags=re.DOTALL)


def _block(name: str, reports: dict[str, dict[str, Any]]) -> str:
    report = reports.get(name)
    if report is None:
        return f"*{DEVICES[name]}: not measured yet.*"
    return "\n\n".join([_about(report), _network(report), _clips(report)])


def _about(report: dict[str, Any]) -> str:
    machine, limits = report["machine"], report["ceilings"]
    where = machine["gpu"] if report["device"] != "cpu" else _cpu(machine)
    return (
        f"{where}; PyTorch {machine['torch']}, commit `{machine['commit']}`, medians of "
        f"{report['rounds']} rounds in turn. Ceilings in the same run: matrix product "
        f"{limits['float32_gflops']:.0f} GFLOP/s in float32 and {limits['bfloat16_gflops']:.0f} in "
        f"bfloat16, copying {limits['copy_gb_per_s']:.0f} GB/s."
    )


def _cpu(machine: dict[str, Any]) -> str:
    return f"{machine['cpu']}, {machine['threads']} cores ({machine['instructions']})"


def _network(report: dict[str, Any]) -> str:
    """Seconds a picture, by backend and size; what they are of the reference and the ceiling."""
    rows = report["network"]
    names = list(dict.fromkeys(row["name"] for row in rows))
    backends = list(dict.fromkeys(row["backend"] for row in rows))
    found = {(row["name"], row["backend"]): row for row in rows}
    lines = [_line(["network alone, s a picture", *names, "float32 ceiling", "differs by"])]
    lines.append(_line(["---"] * (len(names) + 3)))
    for backend in backends:
        of_sizes = [found[name, backend] for name in names]
        cells = [f"{row['seconds']:.3f} (×{row['speed_up']:.2f})" for row in of_sizes]
        shares = [row["gflops"] / report["ceilings"]["float32_gflops"] for row in of_sizes]
        differs = max(row["largest_difference"] for row in of_sizes) * 255
        lines.append(_line([SAYS[backend], *cells, f"{max(shares):.0%}", f"{differs:.3f} / 255"]))
    return "\n".join(lines)


def _clips(report: dict[str, Any]) -> str:
    """Milliseconds a frame of each stage, and what the whole run needs."""
    header = ["video, ms a frame", *STAGES]
    header += ["of the sum", "s a million px", "cores busy", "peak memory"]
    lines = [_line(header), _line(["---"] * len(header))]
    for clip in report["clips"]:
        shares = clip["share_of_ceiling"]
        cells = [
            f"{1e3 * clip['median_s'][stage] / clip['frames']:.1f} ({shares[stage]:.0%})"
            for stage in STAGES
        ]
        lines.append(
            _line(
                [
                    clip["name"],
                    *cells,
                    f"{clip['end_to_end_over_sum']:.3f}",
                    f"{_per_million_px(clip):.3f}",
                    f"{clip['cores_busy']:.0%}",
                    f"{clip['peak_mib']} MiB",
                ]
            )
        )
    return "\n".join(lines)


def _per_million_px(clip: dict[str, Any]) -> float:
    """Seconds, end to end."""
    width, height = map(int, clip["size"].split("x"))
    seconds = clip["median_s"]["end to end"] / clip["frames"]
    return float(seconds / (width * height / 1e6))


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


@click.command()
@click.option("--check", is_flag=True, help="Change nothing; end with 1 if something would.")
@click.option("--readme", type=click.Path(path_type=Path), default=ROOT / "README.md")
def main(readme: Path, *, check: bool) -> None:
    """Write the tables."""
    before = readme.read_text(encoding="utf-8")
    after = rendered(before, load())
    if check:
        sys.exit(before != after)
    readme.write_text(after, encoding="utf-8")


if __name__ == "__main__":
    main()
