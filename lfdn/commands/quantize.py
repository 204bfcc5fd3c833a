"""`lfdn quantize`."""

from __future__ import annotations

import random
from pathlib import Path

import click

from lfdn.commands.options import (
    DATA,
    EXCLUDE,
    OVERWRITE,
    REGISTER,
    SEED,
    STREAKS,
    WEIGHTS,
    add_options,
    list_inputs,
    read_samples,
)
from lfdn.files import check_target, try_target


@click.command(short_help="Quantize weights to int8.")
@add_options(WEIGHTS, DATA, EXCLUDE, STREAKS)
@click.option(
    "--pictures",
    "count",
    type=int,
    default=120,
    show_default=True,
    help="Number of images to calibrate with, at most.",
)
@add_options(SEED, REGISTER, OVERWRITE)
def quantize(
    weights: str,
    sets: tuple[str, ...],
    exclude: tuple[str, ...],
    streaks: Path | None,
    count: int,
    seed: int,
    register: bool,
    overwrite: bool,
) -> None:
    """Quantize weights to int8, for `--precision int8`; the file is written beside them.

    Calibrates with training images: do not name a test set. Needs NNCF and OpenVINO (`[dev]`).
    """
    from lfdn.datasets import layouts
    from lfdn.datasets.calibration import draw_calibration_images
    from lfdn.weights import (
        available,
        file_sha256,
        find_packaged,
        load,
        name_network,
        name_packaged,
        read_header,
        register_int8,
    )

    try:
        from lfdn import calibrate
    except ImportError as error:
        raise click.ClickException(f"{error}; pip install 'lfdn-video[dev]'") from error
    from lfdn.int8 import get_int8_path

    path = find_packaged(weights)[0] if weights in available() else Path(weights)
    network = load(weights)
    about = read_header(path)
    samples = read_samples(sets, exclude)
    target = get_int8_path(path)
    check_target(target, list_inputs(samples, path, streaks), overwrite=overwrite)
    try_target(target)
    random.Random(seed).shuffle(samples)
    bank = layouts.read_streak_bank(streaks) if streaks else None
    images = list(
        draw_calibration_images(samples[:count], task=about["task"], seed=seed, bank=bank)
    )
    if not images:
        raise click.ClickException("--data: no image is large enough")
    model = calibrate.quantize(network, images)
    calibrate.save_quantized(model, target, digest=about["digest"])
    if register:
        register_int8(name_packaged(about["task"], name_network(path) or "full"), target)
    click.echo(f"{file_sha256(target)}  {target}: {len(images)} images")
