"""Many files at once, for `derain` and `deblur`: options, and from words to `batch.run`.

`commands.py` asks `is_batch` and then calls `restore_batch`.
"""

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from lfdn_video.cli.formatting import to_jsonable
from lfdn_video.cli.parameters import FILE, Seconds, WordOrInteger
from lfdn_video.cli.program import check_is_file
from lfdn_video.errors import InputError, OptionError
from lfdn_video.files import Inputs, check_target, write_beside

if TYPE_CHECKING:
    from lfdn_video.batch.values import BatchSummary, Recipe
    from lfdn_video.cli.reporters import Reporter

STDIN = "-"

BATCH = (
    click.option(
        "--from-list",
        type=FILE,
        metavar="FILE",
        help="Several files: a list of them, one a line; - is stdin.",
    ),
    click.option(
        "--name",
        metavar="TEMPLATE",
        help="Several files: name of each target, from {stem}, {ext} and {task}.  "
        "[default: {stem}.{ext}]",
    ),
    click.option(
        "--retry", is_flag=True, help="Several files: try those again that failed before."
    ),
    click.option(
        "--jobs",
        type=WordOrInteger("auto"),
        metavar="auto|N",
        help="Several files: number of them at a time.  [default: 1]",
    ),
    click.option(
        "--cluster",
        metavar="local|auto|ADDRESS",
        help="Several files: divide long videos, and let the Ray cluster of this machine (auto), "
        "one at ray://HOST:10001, or processes of this machine (local) do the parts.",
    ),
    click.option(
        "--task-cpus",
        type=click.INT,
        metavar="N",
        help="With Ray: cores for each task.  [default: 4, or those of the smallest machine]",
    ),
    click.option(
        "--task-gpus",
        type=click.FLOAT,
        metavar="N",
        help="With Ray: GPUs for each task; 0.5 puts two on one.  [default: 1 if there are any]",
    ),
    click.option(
        "--watch",
        is_flag=True,
        help="Several files: go on with files that appear in the folder; needs the watch extra.",
    ),
    click.option(
        "--settle",
        "settle_s",
        type=Seconds(),
        help="With --watch: seconds without a change after which a file is complete.  [default: 5]",
    ),
    click.option(
        "--report-json",
        "report_json",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Several files: write what came of each, as JSON.",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ManyOptions:
    """Options of a run over many files, as they were given; None or False: not at all."""

    from_list: str | None = None
    """A list of files; `-` is stdin."""
    name: str | None = None
    """Template of the targets' names."""
    retry: bool = False
    """Try again what failed in an earlier run."""
    jobs: Literal["auto"] | int | None = None
    """Files at the same time."""
    cluster: str | None = None
    """Where long videos are done in parts."""
    task_cpus: int | None = None
    """Cores for each of Ray's tasks."""
    task_gpus: float | None = None
    """GPUs for each of Ray's tasks."""
    watch: bool = False
    """Go on with files that appear."""
    settle_s: float | None = None
    """Seconds for which a watched file must not change."""
    report_json: Path | None = None
    """File for the results."""

    @property
    def given(self) -> bool:
        """True if any of them was given."""
        return self != ManyOptions()


def is_batch(sources: Sequence[str], many: ManyOptions) -> bool:
    """Tell whether a command is to restore several files rather than one source.

    Args:
        sources: the inputs.
        many: the options for several files, any of which means so.

    Raises:
        InputError: an input is not the name of a file.
        OptionError: there is no input.
    """
    from lfdn_video.batch.items import is_batch_source

    for source in sources:
        check_is_file(source)
    if not sources and many.from_list is None:
        raise OptionError("input: nothing to restore; give a file, a folder or --from-list")
    return len(sources) != 1 or many.given or is_batch_source(sources[0])


def restore_batch(
    sources: Sequence[str],
    folder: str | None,
    recipe: "Recipe",
    many: ManyOptions,
    reporter: "Reporter",
) -> None:
    """Restore several files, and print and write what came of them.

    Args:
        sources: the inputs.
        folder: the target folder.
        recipe: how each file is restored.
        many: the options for several files.
        reporter: the command's reporter.

    Raises:
        Exit: with 1, if a file failed or the run stopped early.
        LfdnVideoError: the run cannot start, or the report cannot be written.
    """
    if not folder:
        raise OptionError("output: several files need a folder to be put into; give one")
    if many.watch and many.from_list is not None:
        raise OptionError("watch: watches folders; leave out --from-list")
    from lfdn_video.batch.run import restore_many
    from lfdn_video.batch.values import BatchOptions, ClusterOptions
    from lfdn_video.cli.batch_views import choose_view

    overwrite = recipe.encode.overwrite
    if many.report_json is not None:
        inputs = Inputs([Path(source) for source in sources])
        check_target(many.report_json, inputs, overwrite=overwrite)
    given = {
        name: value
        for name in ("name", "jobs", "retry", "watch", "settle_s")
        if (value := getattr(many, name)) is not None
    }
    if many.cluster is not None:
        given["cluster"] = ClusterOptions(
            address=many.cluster, cpus=many.task_cpus, gpus=many.task_gpus
        )
    elif (many.task_cpus, many.task_gpus) != (None, None):
        raise OptionError("task cpus, task gpus: are for a Ray cluster; give --cluster, too")
    with choose_view(reporter, recipe.task) as view:
        summary = restore_many(
            sources,
            folder,
            listed=_read_listed(many.from_list),
            recipe=recipe,
            options=BatchOptions(**given),
            listener=view,
        )
    view.show_summary(summary)
    if many.report_json is not None:
        _write_report(summary, many.report_json, overwrite=overwrite)
    if summary.count("failed") or summary.stopped:
        raise click.exceptions.Exit(1)


def _read_listed(name: str | None) -> list[str]:
    from lfdn_video.batch.items import read_list

    if name is None:
        return []
    if name == STDIN:
        return read_list(os.fsdecode(sys.stdin.buffer.read()), "stdin")
    try:
        content = Path(name).read_bytes()
    except OSError as error:
        raise InputError(f"{name}: cannot be read: {error.strerror}; check the name") from error
    return read_list(os.fsdecode(content), name)


def _write_report(summary: "BatchSummary", target: Path, *, overwrite: bool) -> None:
    values = {
        "folder": summary.folder,
        "seconds": summary.seconds,
        "stopped": summary.stopped,
        "restored": summary.count("restored"),
        "finished": summary.count("finished"),
        "failed": summary.count("failed"),
        "files": summary.files,
    }
    with write_beside(target, overwrite=overwrite) as partial, partial.open("w") as file:
        json.dump(to_jsonable(values), file, indent=1, allow_nan=False)
        file.write("\n")
