"""`lfdn evaluate`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from lfdn.commands.options import (
    DATA,
    DEVICE,
    EXCLUDE,
    OVERWRITE,
    PATH,
    WEIGHTS,
    add_options,
    check_device,
)
from lfdn.commands.scores import Job, measure_images, measure_video

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import nn

OF_THE_NETWORK = ("weights", "device", "precision", "feed_clean", "scalars", "save")
"""Parameters that mean nothing where no network runs."""


@click.command(short_help="Measure PSNR, SSIM and, of video, flicker.")
@add_options(WEIGHTS, DATA, EXCLUDE)
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    help="Measure so many images only, evenly spread over the data; with --video so many frames "
    "at the start of each sequence.",
)
@add_options(DEVICE)
@click.option(
    "--video",
    is_flag=True,
    help="Take the data sets as sequences of consecutive frames, and measure flicker and warping "
    "error too. Layouts: pairs, gopro, gopro_gamma, reds, pack; sequences for frames without "
    "truth.",
)
@click.option(
    "--restored",
    type=PATH,
    metavar="FOLDER",
    help="With --video: measure these frames, such as lfdn-video wrote, and run no network. The "
    "folder holds the frames of the only sequence, or a folder of frames for each.",
)
@click.option(
    "--int8",
    "precision",
    flag_value="int8",
    help="Use the 8-bit form of the weights; needs OpenVINO.",
)
@click.option(
    "--bfloat16",
    "precision",
    flag_value="bfloat16",
    help="Run the network in bfloat16; needs OpenVINO, and a CPU that computes in it.",
)
@click.option(
    "--feed-clean", is_flag=True, help="Feed the clean images, to measure how much they change."
)
@click.option(
    "--set",
    "scalars",
    multiple=True,
    metavar="NAME=VALUE",
    help="Replace a learnt scalar, theta or alpha, to measure its effect; may be repeated.",
)
@click.option("--csv", "csv_path", type=PATH, help="Write one row per image to this CSV file.")
@click.option("--save", type=PATH, help="Write the restored images as PNG to this folder.")
@add_options(OVERWRITE)
@click.option("--json", "as_json", is_flag=True, help="Print the means and the protocol as JSON.")
def evaluate(
    weights: str,
    sets: tuple[str, ...],
    exclude: tuple[str, ...],
    limit: int | None,
    device: str,
    video: bool,
    restored: Path | None,
    precision: str | None,
    feed_clean: bool,
    scalars: tuple[str, ...],
    csv_path: Path | None,
    save: Path | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Measure PSNR and SSIM on RGB and on Y (MATLAB's rgb2ycbcr), on whole 8-bit images.

    With --video also how steady consecutive frames are: flicker against the truth, and the
    warping error, which needs none.
    """
    from rich.console import Console

    from lfdn.openvino_form import OpenVinoMissingError

    if restored is not None:
        _check_restored(video=video)
    if video and limit == 1:
        raise click.UsageError("--limit: with --video two frames are needed, to compare them")
    check_device(device)
    if precision is not None and device != "cpu":
        raise click.UsageError(f"--{precision}: is for the CPU alone; leave out --device")
    job = Job(
        sets,
        exclude,
        limit,
        device,
        feed_clean=feed_clean,
        weights=Path(weights),
        csv_path=csv_path,
        save=save,
        overwrite=overwrite,
    )
    try:
        network, about = None, dict[str, Any](restored=str(restored))
        if restored is None:
            network, about = _load(weights, precision or "float32", _parse_scalars(scalars))
    except OpenVinoMissingError as error:
        raise click.ClickException(str(error)) from error
    if video or network is None:
        report = measure_video(network, job, restored=restored)
    else:
        report = measure_images(network, job)
    if as_json:
        about |= {"data": list(sets), "exclude": list(exclude), **report.about}
        click.echo(json.dumps({**report.mean, **about}, indent=1))
    else:
        report.table.title = f"{_describe(about)}\n{report.table.title}"
        Console().print(report.table)


def _check_restored(*, video: bool) -> None:
    """Refuse `--restored` where it means nothing, and what means nothing beside it."""
    if not video:
        raise click.UsageError("--restored needs --video; images are measured with a network")
    context = click.get_current_context()
    for parameter in context.command.params:
        given = context.get_parameter_source(parameter.name or "") is ParameterSource.COMMANDLINE
        # Of several flags for one parameter, the one that was given.
        other = getattr(parameter, "is_flag", False) and context.params[
            str(parameter.name)
        ] != getattr(parameter, "flag_value", True)
        if parameter.name in OF_THE_NETWORK and given and not other:
            raise click.UsageError(f"--restored runs no network; leave out {parameter.opts[0]}")


def _load(
    weights: str, precision: str, scalars: Mapping[str, float]
) -> tuple[nn.Module, dict[str, Any]]:
    """Load the network, replace its scalars, and describe it."""
    from lfdn.int8 import load_quantized
    from lfdn.openvino_form import has_fast_bfloat16, run_in_bfloat16
    from lfdn.training import evaluate as measuring
    from lfdn.weights import load

    if precision == "bfloat16" and not has_fast_bfloat16():
        raise click.ClickException(
            "bfloat16: OpenVINO is missing, or this CPU computes in float32; use another machine"
        )
    network = load_quantized(weights) if precision == "int8" else load(weights)
    about = {
        "weights": _describe_weights(weights),
        "precision": precision,
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "scalars_learnt": measuring.get_scalars(network),
    }
    measuring.set_scalars(network, scalars)
    about |= {"scalars_used": measuring.get_scalars(network)}
    if precision != "bfloat16":
        return network, about
    converted = run_in_bfloat16(network)
    if converted is network:
        raise click.ClickException(f"{weights}: only a network of the default parts can be run")
    return converted, about


def _describe_weights(weights: str) -> dict[str, str]:
    """Collect name, SHA-256 and task of a weights file, or of a task's packaged weights."""
    from lfdn.weights import available, file_sha256, find_packaged, read_header

    path = find_packaged(weights)[0] if weights in available() else Path(weights)
    return {"name": weights, "sha256": file_sha256(path), "task": read_header(path)["task"]}


def _describe(about: Mapping[str, Any]) -> str:
    """Say in a line what was measured, for the title of the table."""
    if "restored" in about:
        return f"{about['restored']}"
    used = "".join(f", {name} {value:.4f}" for name, value in about["scalars_used"].items())
    return f"{about['weights']['name']}, {about['parameters']:,} parameters{used}"


def _parse_scalars(texts: Sequence[str]) -> dict[str, float]:
    values = {}
    for text in texts:
        name, _, value = text.partition("=")
        try:
            values[name] = float(value)
        except ValueError as error:
            raise click.UsageError(f"--set: {text!r} is not NAME=VALUE, such as theta=0") from error
    return values
