"""Train all variants of the paper's Tables 6 and 9 on one short budget, and tabulate the results.

    python pipelines/ablations.py --task derain --data rain800=D/rain800_train \\
        --data clean=D/bsds_train --streaks D/rain_streaks --test rain100=D/rain100l \\
        -o runs/ablations

All variants start from the same seed, train on the same crops in the same order, and are evaluated
on the same pairs with their averaged weights. The same command resumes an interrupted run; finished
variants are not trained again. Writes `TASK.json` and `TASK.md` to the output folder.

A short budget shows which variants learn faster, and what each costs. It does not show where they
end after the hundreds of thousands of steps of the paper. Another seed also changes results by a
tenth of a decibel, so smaller differences between variants mean nothing.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import click
from rich.console import Console

from lfdn import LFDN, LFDNConfig, load
from lfdn.datasets.crops import CropStage
from lfdn.datasets.layouts import read_sets, read_streak_bank
from lfdn.datasets.samples import Sample, exclude_samples
from lfdn.training import evaluate as measuring
from lfdn.training import recipe
from lfdn.training import train as training
from lfdn.training.recipe import Task


@dataclass(frozen=True)
class Variant:
    """A row of the paper's tables."""

    name: str
    config: LFDNConfig
    paper: dict[Task, float]
    """PSNR in dB that the paper states, on Rain100H and on GoPro."""


def _paper(derain: float, deblur: float) -> dict[Task, float]:
    return {"derain": derain, "deblur": deblur}


VARIANTS = (
    Variant("LFDN", LFDNConfig(), _paper(29.12, 31.60)),
    Variant("without MSHF", LFDNConfig(encoder="plain"), _paper(28.92, 30.84)),
    Variant("RFDB for FDNB", LFDNConfig(block="rfdb"), _paper(28.48, 29.28)),
    Variant("convolutions for FDNB", LFDNConfig(block="conv"), _paper(28.04, 28.56)),
    Variant("without ALFM, ACFM", LFDNConfig(fusion="concat"), _paper(28.98, 31.01)),
    Variant("1 block", LFDNConfig(blocks=1), _paper(28.03, 29.82)),
    Variant("2 blocks", LFDNConfig(blocks=2), _paper(28.14, 29.73)),
    Variant("3 blocks", LFDNConfig(blocks=3), _paper(28.88, 30.77)),
    Variant("5 blocks", LFDNConfig(blocks=5), _paper(29.11, 31.52)),
    Variant("6 blocks", LFDNConfig(blocks=6), _paper(29.13, 31.61)),
)
LEARNING_RATE = 1e-3
PAPER_SET: dict[Task, str] = {"derain": "Rain100H", "deblur": "GoPro"}


@dataclass(frozen=True)
class Result:
    """Scores of one trained variant on the pairs of `--test`."""

    name: str
    parameters: int
    steps: int
    seconds_of_training: float
    loss: float
    input_psnr_rgb: float
    psnr_rgb: float
    input_psnr_y: float
    psnr_y: float
    ssim_y: float
    paper_psnr: float


def train_and_measure(
    variant: Variant,
    run: Path,
    samples: list[Sample],
    test: list[Sample],
    *,
    options: training.TrainOptions,
    streaks: Path | None,
) -> Result:
    """Train a variant, or resume it in the run folder `run`, and evaluate it on `test`."""
    rows: list[training.MetricsRow] = []
    training.train(
        samples,
        run,
        options=options,
        config=variant.config,
        bank=read_streak_bank(streaks) if streaks else None,
        on_metrics=rows.append,
    )
    network = load(run / "best.safetensors")
    row = measuring.average_rows(list(measuring.evaluate(network, test, device=options.device)))
    return Result(
        name=variant.name,
        parameters=sum(parameter.numel() for parameter in LFDN(variant.config).parameters()),
        steps=options.steps,
        seconds_of_training=rows[-1].seconds,
        loss=rows[-1].loss,
        input_psnr_rgb=row.input_psnr_rgb,
        psnr_rgb=row.output_psnr_rgb,
        input_psnr_y=row.input_psnr_y,
        psnr_y=row.output_psnr_y,
        ssim_y=row.output_ssim_y,
        paper_psnr=variant.paper[options.task],
    )


def format_markdown(results: list[Result], task: Task) -> str:
    """Format a table: each value, and its difference from the whole network in the first row."""
    whole = results[0]
    paper = f"paper, {PAPER_SET[task]}"
    lines = [
        f"| variant | parameters | training loss | PSNR RGB | Δ | PSNR Y | Δ | {paper} | Δ |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.name} | {row.parameters:,} | {row.loss:.5f} "
        f"| {row.psnr_rgb:.2f} dB | {row.psnr_rgb - whole.psnr_rgb:+.2f} "
        f"| {row.psnr_y:.2f} dB | {row.psnr_y - whole.psnr_y:+.2f} "
        f"| {row.paper_psnr:.2f} dB | {row.paper_psnr - whole.paper_psnr:+.2f} |"
        for row in results
    ]
    lines.append("")
    lines.append(
        f"{whole.steps} steps each; input {whole.input_psnr_rgb:.2f} dB on RGB, "
        f"{whole.input_psnr_y:.2f} dB on Y."
    )
    return "\n".join(lines) + "\n"


@click.command()
@click.option(
    "--task", type=click.Choice(["derain", "deblur"]), required=True, help="Restoration task."
)
@click.option(
    "--data",
    "sets",
    multiple=True,
    required=True,
    metavar="LAYOUT=PATH",
    help="Training set; may be repeated.",
)
@click.option(
    "--test",
    "test_sets",
    multiple=True,
    required=True,
    metavar="LAYOUT=PATH",
    help="Test set; may be repeated.",
)
@click.option(
    "--exclude",
    multiple=True,
    metavar="PATTERN",
    help="Leave out training samples by name; may be repeated.",
)
@click.option(
    "--streaks", type=click.Path(path_type=Path), help="Folder or pack of rendered streak layers."
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder for runs and tables.",
)
@click.option("--steps", default=300, show_default=True, help="Steps per variant.")
@click.option("--patch-px", default=96, show_default=True, help="Side of the crops, in px.")
@click.option("--batch", default=8, show_default=True, help="Crops per step.")
@click.option("--device", default="cpu", show_default=True, help="Device: cpu, cuda, ...")
@click.option("--bfloat16", is_flag=True, help="Train with bfloat16 autocast.")
@click.option("--seed", default=1, show_default=True, help="Random seed.")
def main(
    task: Task,
    sets: tuple[str, ...],
    test_sets: tuple[str, ...],
    exclude: tuple[str, ...],
    streaks: Path | None,
    output: Path,
    steps: int,
    patch_px: int,
    batch: int,
    device: str,
    bfloat16: bool,
    seed: int,
) -> None:
    """Train all variants of Tables 6 and 9 and write a table of their scores."""
    options = recipe.build_options(
        "default",
        task,
        steps=steps,
        stages=(CropStage(1.0, patch_px, batch),),
        optimizer="muon",
        learning_rate=LEARNING_RATE,
        ema_decay=0.99,
        validate_every=steps,
        precision="bfloat16" if bfloat16 else "float32",
        device=device,
        seed=seed,
    )
    results = []
    try:
        samples = exclude_samples(read_sets(sets), exclude)
        test = read_sets(test_sets)
        for variant in VARIANTS:
            run = output / task / variant.name.replace(" ", "_").replace(",", "")
            done = run / "result.json"
            if not done.is_file():
                result = train_and_measure(
                    variant, run, samples, test, options=options, streaks=streaks
                )
                done.write_text(json.dumps(asdict(result), indent=1) + "\n")
            results.append(Result(**json.loads(done.read_text())))
            click.echo(f"{variant.name}: {results[-1].psnr_rgb:.2f} dB on RGB", err=True)
    except (training.TrainingError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    rows = [asdict(result) for result in results]
    (output / f"{task}.json").write_text(json.dumps(rows, indent=1) + "\n")
    (output / f"{task}.md").write_text(table := format_markdown(results, task))
    Console().print(table, soft_wrap=True)


if __name__ == "__main__":
    main()
