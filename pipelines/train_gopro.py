"""Train LFDN on GoPro, evaluate it on the test sequences, and export the weights.

    python pipelines/train_gopro.py GOPRO_Large -o runs/gopro

GOPRO_Large is the published folder with `train/` and `test/`, each `SEQUENCE/{blur,sharp}/*.png`.
The same command resumes an interrupted run from its last checkpoint. At the end the run folder
holds `deblur.safetensors`, for `lfdn-video deblur --weights`, `test.csv` and `metrics.csv`.
"""

from pathlib import Path

import click

from lfdn import LFDNConfig, load
from lfdn.datasets.crops import CropStage
from lfdn.datasets.layouts import read_gopro
from lfdn.training import evaluate as measuring
from lfdn.training import train as training
from lfdn.weights import save_weights

STAGES = (CropStage(0.6, 160, 8), CropStage(0.85, 224, 4), CropStage(1.0, 320, 2))
"""Crops larger than the blur, and growing; steps of all stages cost about the same."""


@click.command()
@click.argument("gopro", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    "run",
    type=click.Path(path_type=Path),
    required=True,
    help="Run folder; an unfinished run resumes.",
)
@click.option("--steps", default=300_000, show_default=True, help="Number of steps.")
@click.option("--device", default="cpu", show_default=True, help="Device: cpu, cuda, ...")
@click.option("--bfloat16", is_flag=True, help="Train with bfloat16 autocast.")
@click.option(
    "--width",
    default=50,
    show_default=True,
    help="Channels of the blocks (C); fewer for a quick test.",
)
def main(gopro: Path, run: Path, steps: int, device: str, bfloat16: bool, width: int) -> None:
    """Train on GOPRO/train, test on GOPRO/test."""
    try:
        training_pairs = read_gopro(gopro / "train")
        test_pairs = read_gopro(gopro / "test")
        options = training.TrainOptions(
            task="deblur",
            steps=steps,
            stages=STAGES,
            device=device,
            precision="bfloat16" if bfloat16 else "float32",
        )
        config = LFDNConfig(widths=(width, width, width, width * 3 // 2, width * 2))
        training.train(
            training_pairs, run, options=options, config=config, on_metrics=_print_metrics
        )
        network = load(run / "best.safetensors")
        rows = list(measuring.evaluate(network, test_pairs, device=device))
    except (training.TrainingError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    measuring.write_csv(rows, run / "test.csv")
    save_weights(network, run / "deblur.safetensors", task="deblur", notes={"data": "GoPro, train"})
    average = measuring.average_rows(rows)
    click.echo(
        f"GoPro test, {average.name}: {average.input_psnr_rgb:.2f} -> "
        f"{average.output_psnr_rgb:.2f} dB on RGB, SSIM {average.output_ssim_rgb:.4f}"
    )


def _print_metrics(row: training.MetricsRow) -> None:
    click.echo(f"step {row.step}: loss {row.loss:.5f}, {row.validation_psnr_y:.2f} dB")


if __name__ == "__main__":
    main()
