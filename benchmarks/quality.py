"""Measure the packaged weights, and write the table of README.md: PSNR and SSIM of all it names.

    python -m benchmarks.quality D            # measure with the data sets in D, write the table
    python -m benchmarks.quality --table      # write the table from the results there are

Each result is what `lfdn evaluate --json` prints, in `benchmarks/results`, with the digest of the
weights; a test fails when it is not that of the packaged ones.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click

from benchmarks.pictures import weights_digests

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results"
PAGE = ROOT / "README.md"
MARKERS = re.compile(r"<!-- quality -->\n.*?<!-- /quality -->", re.DOTALL)
STAGE = "video_a1_temporal"
A1 = "rain_video/a1"

RUNS = {
    "video_a1": ("--weights", "derain", "--video", "--data", f"pairs={A1}"),
    "rain100l": ("--weights", "derain", "--data", "rain100=rain100l"),
    "rain100l_int8": ("--weights", "derain", "--int8", "--data", "rain100=rain100l"),
    "rain100l_bfloat16": ("--weights", "derain", "--bfloat16", "--data", "rain100=rain100l"),
    "rain100l_clean": ("--weights", "derain", "--feed-clean", "--data", "rain100=rain100l"),
    "video_reds_small": ("--weights", "deblur", "--video", "--data", "reds=reds_small"),
}
"""Arguments of `lfdn evaluate` by name of the result; `STAGE` is measured apart."""

STAGE_RESULTS = ("temporal_a1", "temporal_dry", "temporal_rainy")
"""Results of `benchmarks.temporal`, which `docs/benchmarks.md` shows."""

Results = dict[str, dict[str, Any]]


def load_results() -> Results:
    """Read all results that the table shows, by name."""
    return {
        name: json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
        for name in (STAGE, *RUNS)
    }


def find_stale(results: Results) -> Iterator[str]:
    """Yield the names of results of other weights, or of another gate, than the packaged ones."""
    for name, result in results.items():
        weights = result.get("weights", {"name": "derain", "sha256": "not said"})
        packaged = weights_digests([weights["name"]])
        has_gate = name == STAGE
        wanted = (packaged[weights["name"]], packaged["derain.gate"] if has_gate else None)
        if (weights["sha256"], weights.get("gate")) != wanted:
            yield name


def find_stale_stages(folder: Path = RESULTS) -> Iterator[str]:
    """Yield the names of results of `benchmarks.temporal` that the packaged files did not make."""
    packaged = weights_digests(["derain"])
    for name in STAGE_RESULTS:
        result = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        made_by = (result["weights"], result.get("gate"))
        if made_by != (packaged["derain"], packaged["derain.gate"]):
            yield name


def render(text: str, results: Results) -> str:
    """Replace the table between the markers in a page."""
    block = f"<!-- quality -->\n{render_table(results)}\n<!-- /quality -->"
    return MARKERS.sub(lambda _: block, text)


def render_table(results: Results) -> str:
    """Render the table of the README."""
    stage, a1, rain = results[STAGE], results["video_a1"], results["rain100l"]
    int8, clean = results["rain100l_int8"], results["rain100l_clean"]
    bfloat16 = results["rain100l_bfloat16"]
    reds = results["video_reds_small"]
    rows = [
        ("weights", "data", "measure", "input", "restored"),
        ("---",) * 5,
        (
            "derain",
            f"NTURain `a1`, a video of {stage['frames']} frames",
            *_both(stage, "y", is_main=True),
        ),
        ("derain, `--temporal off`", "NTURain `a1`", *_both(a1, "y")),
        ("derain", "Rain100L, 100 pairs", *_both(rain, "y", is_main=True)),
        ("derain", "Rain100L, 100 pairs", *_both(rain, "rgb")),
        ("derain, `--precision int8`", "Rain100L, 100 pairs", *_psnr(int8, "y")),
        ("derain, `--precision bfloat16`", "Rain100L, 100 pairs", *_psnr(bfloat16, "y")),
        (
            "derain",
            "clean images of Rain100L, fed in",
            "PSNR-Y to themselves",
            "",
            f"{clean['output_psnr_y']:.1f} dB",
        ),
        ("deblur", "30 pairs of REDS, 320×180", *_psnr(reds, "rgb", is_main=True)),
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _psnr(result: dict[str, Any], kind: str, *, is_main: bool = False) -> tuple[str, str, str]:
    """Return measure, input and output."""
    before, after = (f"{result[f'{end}_psnr_{kind}']:.2f} dB" for end in ("input", "output"))
    return f"PSNR-{kind.upper()}", before, f"**{after}**" if is_main else after


def _both(result: dict[str, Any], kind: str, *, is_main: bool = False) -> tuple[str, str, str]:
    """Return measure, input and output with SSIM."""
    name, before, after = _psnr(result, kind, is_main=is_main)
    ends = [f"{result[f'{end}_ssim_{kind}']:.3f}" for end in ("input", "output")]
    return f"{name}, SSIM-{kind.upper()}", f"{before}, {ends[0]}", f"{after}, {ends[1]}"


def measure(name: str, data: Path) -> dict[str, Any]:
    """Measure one result.

    Args:
        name: its name, a key of `RUNS` or `STAGE`.
        data: the folder that holds the sets.
    """
    if name in RUNS:
        return _evaluate(data, *RUNS[name])
    with TemporaryDirectory(prefix="lfdn-video-") as folder:
        target = f"{folder}/%05d.png"
        command = [sys.executable, "-m", "lfdn_video", "derain", f"{A1}/rainy", "-o", target]
        subprocess.run([*command, "--quiet"], cwd=data, check=True)
        stage = _evaluate(data, "--video", "--data", f"pairs={A1}", "--restored", folder)
    digests = weights_digests(["derain"])
    weights = {"name": "derain", "sha256": digests["derain"], "gate": digests["derain.gate"]}
    return stage | {"restored": "by lfdn-video derain", "weights": weights}


def _evaluate(data: Path, *arguments: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "lfdn.cli", "evaluate", "--json", *arguments]
    done = subprocess.run(command, cwd=data, check=True, capture_output=True, text=True)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


@click.command()
@click.argument(
    "data", type=click.Path(exists=True, file_okay=False, path_type=Path), required=False
)
@click.option("--table", is_flag=True, help="Measure nothing; write the table from the results.")
@click.option(
    "--only",
    type=click.Choice([STAGE, *RUNS]),
    multiple=True,
    help="Measure this result; may be repeated.",
)
def main(data: Path | None, only: tuple[str, ...], *, table: bool) -> None:
    """Measure the packaged weights with the sets in DATA, and write the table of README.md."""
    if (data is None) is not table:
        raise click.UsageError("name the folder of the data sets, or give --table")
    if data is not None:
        for name in only or (STAGE, *RUNS):
            result = measure(name, data)
            text = json.dumps(result, indent=1) + "\n"
            (RESULTS / f"{name}.json").write_text(text, encoding="utf-8")
            click.echo(f"{name}: {result['output_psnr_y']:.2f} dB PSNR-Y")
    PAGE.write_text(render(PAGE.read_text(encoding="utf-8"), load_results()), encoding="utf-8")


if __name__ == "__main__":
    main()
