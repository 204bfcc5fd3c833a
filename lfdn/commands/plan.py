"""What `lfdn train` is to train: by its options, or by the folder of a run that is resumed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from lfdn.config import LFDNConfig
    from lfdn.training.manifest import RunInputs
    from lfdn.training.recipe import TrainOptions

FIXED = {"run": "--output", "preset": "--preset", "init": "--init", "network": "--network"}
"""Parameters that mean nothing beside `--resume`, and their options."""
MOVED = {"sets": "data", "exclude": "exclude", "streaks": "streaks", "teacher": "teacher"}
"""Parameters that may be given beside it, and their fields of `RunInputs`."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to train, and in which folder."""

    run: Path
    options: TrainOptions
    inputs: RunInputs
    config: LFDNConfig
    """Of the network; the weights in `init` have their own."""
    init: Path | None
    """Weights to read. A run whose folder has a checkpoint and its configuration needs none."""

    def describe_origin(self) -> str:
        """Say what the network starts from."""
        if _has_checkpoint(self.run):
            return "its checkpoint"
        return str(self.init) if self.init else "random weights"


def plan_resumption(
    run: Path, explicit: Mapping[str, Any], moved: RunInputs, *, given: set[str]
) -> Plan:
    """Plan to resume a run from its folder.

    Args:
        run: The run folder.
        explicit: Fields of `TrainOptions` from the command line.
        moved: Inputs from the command line.
        given: Parameters that are on the command line; all others are the run's.

    Raises:
        click.UsageError: An option means nothing here.
        click.ClickException: An input that the run needs is not there.
        TrainingError: It is no run that can be resumed from its folder.
        ValueError: As for `TrainOptions`.
    """
    from lfdn.training.manifest import read_run

    for name, option in FIXED.items():
        if name in given:
            raise click.UsageError(f"--resume: the run has this already; leave out {option}")
    stored = read_run(run)
    options = replace(
        stored.options, **{name: value for name, value in explicit.items() if name in given}
    )
    inputs = replace(
        stored.inputs,
        **{field: getattr(moved, field) for name, field in MOVED.items() if name in given},
    )
    needed = inputs.init is not None and not _has_checkpoint(run)
    plan = Plan(run, options, inputs, stored.config, Path(inputs.init or "") if needed else None)
    for path, option in _list_paths(plan):
        if not path.exists():
            raise click.ClickException(
                f"{path}: is not there, and {run / 'run.json'} names it; bring it back, or give "
                f"its new place with {option}"
            )
    return plan


def _list_paths(plan: Plan) -> Iterator[tuple[Path, str]]:
    """Yield every path that the plan reads, and the option that names it."""
    inputs = plan.inputs
    for text in inputs.data:
        for path in _split_set(text):
            yield Path(path), "--data"
    if inputs.streaks:
        yield Path(inputs.streaks), "--streaks"
    if inputs.teacher and Path(inputs.teacher).is_absolute():
        yield Path(inputs.teacher), "--teacher"
    if plan.init is not None:
        yield plan.init, "--init in the first command, repeated"


def _has_checkpoint(run: Path) -> bool:
    from lfdn.training.checkpoint import RunFolder

    return RunFolder(run).has_checkpoint


def _split_set(text: str) -> list[str]:
    """Return the path of a set LAYOUT=PATH, or both of LAYOUT=DEGRADED,CLEAN."""
    path = text.partition("=")[2]
    return [path] if Path(path).exists() else path.split(",")


def locate(inputs: RunInputs) -> RunInputs:
    """Name inputs so that they are found from any folder."""
    from lfdn.weights import available

    def find(name: str | None) -> str | None:
        return name if name is None or name in available() else str(Path(name).absolute())

    return replace(
        inputs,
        data=tuple(_locate_set(text) for text in inputs.data),
        streaks=find(inputs.streaks),
        init=find(inputs.init),
        teacher=find(inputs.teacher),
    )


def _locate_set(text: str) -> str:
    layout, equals, _ = text.partition("=")
    return layout + equals + ",".join(str(Path(part).absolute()) for part in _split_set(text))
