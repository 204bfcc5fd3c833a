"""Train LFDN against motion blur on GoPro, measure it on the test sequences, export the weights.

    python pipelines/train_gopro.py GOPRO_Large -o runs/gopro

GOPRO_Large is the published folder with `train/` and `test/`, each `SEQUENCE/{blur,sharp}/*.png`.
Interrupt it any time: the same command goes on from the last checkpoint. The run's folder then
holds `deblur.safetensors`, which `lfdn-video deblur --weights` takes, `test.csv` and `metrics.csv`.
"""

from pathlib import Path

import click

from lfdn import LFDNConfig, load
from lfdn import evaluate as measuring
from lfdn.datasets import data, layouts
from lfdn.training import train as training
from lfdn.weights import save

STAGES = (data.Stage(0.6, 160, 8), data.Stage(0.85, 224, 4), data.Stage(1.0, 320, 2))
"""Crops larger than the blur, growing; each stage costs about the same a step."""


@click.command()
@click.argument("gopro", type=click.Path(path_type=Path))
@click.option("-o", "--output", "run", type=click.Path(path_type=Path), required=True)
@click.option("--steps", default=300_000, show_default=True)
@click.option("--device", default="cpu", show_default=True)
@click.option("--bfloat16", is_flag=True, help="Mixed precision.")
@click.option("--width", default=50, show_default=True, help="C; a small one for a quick look.")
def main(gopro: Path, run: Path, steps: int, device: str, bfloat16: bool, width: int) -> None:
    """Train on GOPRO/train, test on GOPRO/test."""
    try:
        training_pairs, test_pairs = layouts.gopro(gopro / "train"), layouts.gopro(gopro / "test")
        options = training.TrainOptions(
            task="deblur",
            steps=steps,
            stages=STAGES,
            device=device,
            precision="bfloat16" if bfloat16 else "float32",
        )
        config = LFDNConfig(widths=(width, width, width, width * 3 // 2, width * 2))
        training.train(training_pairs, run, options=options, config=config, on_report=_show)
        network = load(run / "best.safetensors")
        rows = list(measuring.evaluate(network, test_pairs, device=device))
    except (training.TrainingError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    measuring.write_csv(rows, run / "test.csv")
    save(network, run / "deblur.safetensors", task="deblur", notes={"data": "GoPro, train"})
    average = measuring.mean(rows)
    click.echo(
        f"GoPro test, {average.name}: {average.input_psnr_rgb:.2f} -> "
        f"{average.output_psnr_rgb:.2f} dB on RGB, SSIM {average.output_ssim_rgb:.4f}"
    )


def _show(report: training.Report) -> None:
    click.echo(f"step {report.step}: loss {report.loss:.5f}, {report.validation_psnr_y:.2f} dB")


if __name__ == "__main__":
    main()
