"""`lfdn train`."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Unpack

import click
from click.core import ParameterSource

from lfdn.commands.observer import Observer, join_observers
from lfdn.commands.options import (
    DATA_OR_RESUME,
    EXCLUDE,
    PATH,
    STREAKS,
    add_options,
    check_device,
    check_folder,
    list_inputs,
    read_samples,
)
from lfdn.commands.plan import Plan, locate, plan_resumption
from lfdn.commands.progress import TrainingView
from lfdn.commands.records import Curves, TensorBoard
from lfdn.commands.train_options import EXECUTION, PRESET, TrainValues

if TYPE_CHECKING:
    from lfdn.config import NetworkName
    from lfdn.training.recipe import Task


@click.command(short_help="Train a network.")
@click.option(
    "--task",
    type=click.Choice(["derain", "deblur"]),
    default="derain",
    show_default=True,
    help="Restoration task.",
)
@add_options(DATA_OR_RESUME, EXCLUDE, STREAKS)
@click.option("-o", "--output", "run", type=PATH, help="Run folder; an unfinished run resumes.")
@click.option(
    "--resume",
    type=PATH,
    metavar="RUN",
    help="Resume the run in this folder, with the options and the data that its run.json names. "
    "Beside it may be given: --device, --threads, --workers, --compile, --pad-channels, the "
    "intervals, more --steps or --seconds, and --data, --streaks and --teacher if they have moved.",
)
@add_options(*PRESET, *EXECUTION)
@click.option("--tensorboard", is_flag=True, help="Also write figures and images for TensorBoard.")
def train(
    task: Task,
    sets: tuple[str, ...],
    exclude: tuple[str, ...],
    streaks: Path | None,
    run: Path | None,
    resume: Path | None,
    preset: str,
    init: Path | None,
    network: NetworkName | None,
    teacher: str | None,
    resident: Literal["auto", "on", "off"],
    tensorboard: bool,
    **values: Unpack[TrainValues],
) -> None:
    """Train a network. An interrupted run is resumed by --resume, or by repeating its command: on a
    CPU, the result is the same bit for bit.

    Several GPUs: torchrun --nproc-per-node N -m lfdn train ... --device cuda
    """
    if init and network:
        raise click.UsageError("--network: --init has a network already; give one of the two")
    from lfdn.config import NETWORKS
    from lfdn.training import train as training
    from lfdn.training.recipe import build_options

    inputs = training.RunInputs(
        data=sets,
        exclude=exclude,
        streaks=str(streaks) if streaks else None,
        init=str(init) if init else None,
        teacher=teacher,
    )
    try:
        if resume is not None:
            explicit = {"task": task, "resident": resident == "on", **values}
            plan = plan_resumption(resume, explicit, inputs, given=_list_given())
        else:
            if run is None or not sets:
                raise click.UsageError("--data and -o are needed; or --resume a run")
            check_device(values["device"])
            on_device = _is_resident(resident, values["device"])
            options = build_options(preset, task, resident=on_device, **values)
            plan = Plan(run, options, inputs, NETWORKS[network or "full"], init)
        _train(plan, tensorboard=tensorboard)
    except training.TrainingError as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        message = f"{run or resume}: {error}; check free space and permissions"
        raise click.ClickException(message) from error


def _train(plan: Plan, *, tensorboard: bool) -> None:
    """Read the inputs, and train; on Ctrl-C exit with 130."""
    from lfdn import weights
    from lfdn.datasets import layouts
    from lfdn.training import train as training
    from lfdn.training.checkpoint import RunFolder

    run, inputs, init = plan.run, plan.inputs, plan.init
    check_device(plan.options.device)
    samples = read_samples(inputs.data, inputs.exclude)
    streaks = Path(inputs.streaks) if inputs.streaks else None
    found = list_inputs(samples, init, streaks)
    check_folder(run, found, overwrite=True)  # which resumes a run
    found.refuse_around(run)
    leads = os.environ.get("RANK", "0") == "0"
    try:
        with ExitStack() as stack:
            observers: list[Observer] = []
            if leads:
                view = TrainingView(run, plan.describe_origin())
                boards = [TensorBoard(run)] if tensorboard else []
                observers = [view, *boards, Curves(run)]
            for observer in observers:
                stack.enter_context(observer)
            training.train(
                samples,
                run,
                options=plan.options,
                config=plan.config,
                initial=weights.read_weights(init) if init else None,
                teacher=weights.load(inputs.teacher) if inputs.teacher else None,
                bank=layouts.read_streak_bank(streaks) if streaks else None,
                inputs=locate(inputs),
                **join_observers(observers),
            )
            if leads:
                view.finish()
    except KeyboardInterrupt:
        if leads:
            begun = RunFolder(run).has_manifest
            more = f"; lfdn train --resume {run} goes on" if begun else " before the first step"
            click.echo(f"interrupted{more}", err=True)
        sys.exit(130)


def _list_given() -> set[str]:
    """List the parameters that are on the command line."""
    context = click.get_current_context()
    return {
        parameter.name or ""
        for parameter in context.command.params
        if context.get_parameter_source(parameter.name or "") is ParameterSource.COMMANDLINE
    }


def _is_resident(choice: Literal["auto", "on", "off"], device: str) -> bool:
    """Decide where crops are made; several processes prepare them on the CPU."""
    alone = os.environ.get("WORLD_SIZE", "1") == "1"
    if choice == "on" and not alone:
        raise click.UsageError("--resident: works in one process alone; leave it out")
    return choice == "on" or (choice == "auto" and alone and device.startswith("cuda"))
