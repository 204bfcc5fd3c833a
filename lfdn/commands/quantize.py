"""`lfdn quantize`."""

from __future__ import annotations

import random
from pathlib import Path

import click

from lfdn.commands.inputs import FOLDER, data_options, read_samples


@click.command()
@click.option("--weights", default="derain", show_default=True, help="A shipped task, or a file.")
@data_options
@click.option(
    "--streaks", type=FOLDER, help="Rendered streak layers, white on black: a folder, or a pack."
)
@click.option("--pictures", "count", type=int, default=120, show_default=True, help="At most.")
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--register", is_flag=True, help="Enter it in the index.json beside it (packaging).")
def quantize(
    weights: str,
    sets: tuple[str, ...],
    exclude: tuple[str, ...],
    streaks: Path | None,
    count: int,
    seed: int,
    register: bool,
) -> None:
    """Write the 8-bit form of weights beside them, for `--precision int8`.

    Its ranges are taken from training pictures; name no test set. Needs NNCF and OpenVINO (the
    extra `dev`).
    """
    from lfdn.datasets import layouts
    from lfdn.datasets.calibration import draw_calibration_images
    from lfdn.weights import available, file_sha256, find_packaged, load, read_header, register_int8

    try:
        from lfdn import calibrate as making
    except ImportError as error:
        raise click.ClickException(f"{error}; pip install 'lfdn-video[dev]'") from error
    from lfdn.int8 import quantized_path

    try:
        path = find_packaged(weights)[0] if weights in available() else Path(weights)
        network, about = load(weights), read_header(path)
        samples = read_samples(sets, exclude)
        random.Random(seed).shuffle(samples)
        bank = layouts.read_streak_bank(streaks) if streaks else None
        pictures = list(
            draw_calibration_images(samples[:count], task=about["task"], seed=seed, bank=bank)
        )
        if not pictures:
            raise click.ClickException("--data: no picture is large enough")
        model = making.quantize(network, pictures)
        making.save_quantized(model, target := quantized_path(path), digest=about["digest"])
    except (OSError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    if register:
        register_int8(about["task"], target)
    click.echo(f"{file_sha256(target)}  {target}: {len(pictures)} pictures")
